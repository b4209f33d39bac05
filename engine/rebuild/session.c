#include "engine/rebuild/rebuild.h"

#include "base/warn.h"

struct rebuild_task *task_find(struct rebuild *r, pid_t pid)
{
	for (size_t i = 0; i < r->n_tasks; i++)
		if (r->tasks[i]->pid == pid)
			return r->tasks[i];
	return NULL;
}

/*
 * A root that lived in somebody else's session cannot go back there: the session may be gone, and
 * joining one is not possible anyway.  The root becomes the leader of a session and group of its
 * own, and whoever of the tree was in those foreign ones follows it.
 */
static void replace_foreign(struct rebuild *r)
{
	pid_t foreign_sid = r->root->sid, foreign_pgid = r->root->pgid, root = r->root->pid;

	if (foreign_sid == root)
		return;
	for (size_t i = 0; i < r->n_tasks; i++) {
		struct rebuild_task *t = r->tasks[i];

		if (t->sid != foreign_sid)
			continue;
		t->sid = root;
		if (t->pgid == foreign_pgid && !task_find(r, foreign_pgid))
			t->pgid = root;
	}
	/* A session leader cannot be in another's group. */
	r->root->pgid = root;
}

/* The topmost task that needs session `sid` although its parent is not in it. */
static struct rebuild_task *first_of_session(struct rebuild *r, pid_t sid)
{
	for (size_t i = 0; i < r->n_tasks; i++)
		if (r->tasks[i]->sid == sid)
			return r->tasks[i];
	return NULL;
}

/* Numbers that stand for no process mean several to kill(2). */
static int no_leader(const struct rebuild_task *t, const char *what, pid_t number)
{
	warn("generation %llu: task %d: there is no %s %d", (unsigned long long)t->r->gen.number,
	     t->pid, what, number);
	return R_DAMAGED;
}

static int add_session_helpers(struct rebuild *r)
{
	size_t n = r->n_tasks;

	for (size_t i = 0; i < n; i++) {
		struct rebuild_task *t = r->tasks[i], *helper;

		if (task_find(r, t->sid))
			continue;
		if (t->sid <= 0)
			return no_leader(t, "session", t->sid);
		helper = plan_add_helper(r, t->sid);
		if (!helper)
			return R_FAILED;
		helper->parent = first_of_session(r, t->sid)->parent;
		helper->sid = helper->pgid = helper->pid;
		detail("session %d has lost its leader: a helper stands in for it", helper->pid);
	}
	return R_OK;
}

/* Who bears the helper for the group that `t` is in: a task of the same session that is still there
 * to reap it, a member if one is. */
static struct rebuild_task *bears_group(struct rebuild *r, struct rebuild_task *t)
{
	for (size_t i = 0; i < r->n_tasks; i++)
		if (r->tasks[i]->pgid == t->pgid && r->tasks[i]->kind != TASK_ZOMBIE)
			return r->tasks[i];
	for (size_t i = 0; i < r->n_tasks; i++)
		if (r->tasks[i]->sid == t->sid && r->tasks[i]->kind != TASK_ZOMBIE)
			return r->tasks[i];
	return t;
}

static int add_group_helpers(struct rebuild *r)
{
	size_t n = r->n_tasks;

	for (size_t i = 0; i < n; i++) {
		struct rebuild_task *t = r->tasks[i], *helper, *bearer;

		if (task_find(r, t->pgid))
			continue;
		if (t->pgid <= 0)
			return no_leader(t, "process group", t->pgid);
		bearer = bears_group(r, t);
		helper = plan_add_helper(r, t->pgid);
		if (!helper)
			return R_FAILED;
		helper->parent = bearer;
		helper->sid = t->sid;
		helper->pgid = helper->pid;
		detail("group %d has lost its leader: a helper stands in for it", helper->pid);
	}
	return R_OK;
}

/* True if the leader of session `sid` is a sibling of `t`, which can make it in its place. */
static bool sibling_leads(struct rebuild *r, const struct rebuild_task *t, pid_t sid)
{
	const struct rebuild_task *leader = task_find(r, sid);

	return leader && leader != t && leader->parent == t->parent;
}

/* The session `t` must be born into: its own, or for a leader the old one that a child still has.
 */
static pid_t session_at_birth(struct rebuild *r, struct rebuild_task *t)
{
	if (t->sid != t->pid)
		return t->sid;
	for (size_t i = 0; i < r->n_tasks; i++) {
		struct rebuild_task *child = r->tasks[i];
		pid_t born;

		if (child->parent != t)
			continue;
		born = session_at_birth(r, child);
		if (born && born != t->pid && !sibling_leads(r, child, born))
			return born;
	}
	return 0;
}

/* Who makes `t`, and when: see rebuild.h for the fields. */
static int choose_maker(struct rebuild *r, struct rebuild_task *t)
{
	if (!t->parent) {
		if (!t->born_sid || t->born_sid == t->pid)
			return R_OK;
		goto impossible;
	}
	t->maker = t->parent;
	if (!t->born_sid || t->born_sid == t->parent->sid)
		return R_OK;
	if (t->born_sid == t->parent->born_sid) {
		t->made_early = true;
		return R_OK;
	}
	/* Its session came from a relative that is no ancestor (any more): a sibling can make it.
	 */
	if (sibling_leads(r, t, t->born_sid)) {
		t->maker = task_find(r, t->born_sid);
		return R_OK;
	}
impossible:
	warn("task %d: cannot be put into session %d from where it stands in the tree", t->pid,
	     t->born_sid);
	return R_UNSUPPORTED;
}

int session_plan(struct rebuild *r)
{
	int rc;

	replace_foreign(r);
	rc = add_session_helpers(r);
	if (rc)
		return rc;
	rc = add_group_helpers(r);
	if (rc)
		return rc;
	for (size_t i = 0; i < r->n_tasks; i++)
		r->tasks[i]->born_sid = session_at_birth(r, r->tasks[i]);
	/* A leader of no past can be born early with those who need it: into its parent's old
	 * session only if its children ask for it, which session_at_birth has said. */
	for (size_t i = 0; i < r->n_tasks; i++) {
		rc = choose_maker(r, r->tasks[i]);
		if (rc)
			return rc;
	}
	return R_OK;
}
