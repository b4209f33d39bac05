#include "ended_tree.h"

#include "base/result.h"
#include "engine/image/image.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void put_image(struct ingest *ingest, enum image_kind_id id, const char *name,
		      const ProtobufCMessage *message)
{
	struct image_writer w;

	image_writer_init(&w, id);
	image_add(&w, message);
	assert_int_equal(image_finish(&w), R_OK);
	assert_int_equal(object_put(ingest, name, w.data, w.len), R_OK);
	image_writer_free(&w);
}

void ended_tree_put(struct ingest *ingest)
{
	PstreeEntry tree = PSTREE_ENTRY__INIT;
	TaskCoreEntry task = TASK_CORE_ENTRY__INIT;
	CoreEntry core = CORE_ENTRY__INIT;

	tree.pid = tree.pgid = tree.sid = 1;
	task.task_state = TASK_STATE_ZOMBIE;
	task.comm = (char *)"ended";
	core.tc = &task;
	put_image(ingest, IMAGE_PSTREE, "pstree", &tree.base);
	put_image(ingest, IMAGE_CORE, "core-1", &core.base);
}
