/* memfd_secret(2).  How its contents are taken: engine/proc/dump_secret.c. */
#include "engine/proc/fds/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/result.h"
#include "base/warn.h"
#include "engine/features.h"
#include "engine/proc/fds/fds_internal.h"
#include "store/seal.h"

#ifndef SYS_memfd_secret
#define SYS_memfd_secret 447
#endif
#ifndef SECRETMEM_MAGIC
#define SECRETMEM_MAGIC 0x5345434d
#endif
/* Mapped at once: what is mapped counts as locked, of which there may be little. */
#define WINDOW_PAGES 16

bool is_secret_memory(const struct taken_file *f)
{
	return S_ISREG(f->st.st_mode) && taken_file_fs(f) == SECRETMEM_MAGIC;
}

void secret_object_name(uint32_t shmid, char name[32])
{
	snprintf(name, 32, SEALED_PREFIX "shmem-%" PRIu32, shmid);
}

int secret_note(struct fds_take *take, const struct taken_file *f, uint32_t shmid)
{
	struct taken_secret *s;

	if (f->flags & O_PATH) {
		warn("%s: secret memory opened by path only (O_PATH) cannot be snapshotted",
		     taken_file_name(f));
		return R_UNSUPPORTED;
	}
	for (size_t i = 0; i < take->n_secrets; i++) {
		s = &take->secrets[i];
		if (s->dev != f->st.st_dev || s->ino != f->st.st_ino)
			continue;
		if (s->local < 0 && !f->path_only)
			s->local = f->local;
		return R_OK;
	}
	if (grow(&take->secrets, take->n_secrets, &take->room_secrets, sizeof(*s)) != R_OK)
		return R_FAILED;
	s = &take->secrets[take->n_secrets++];
	*s = (struct taken_secret){
		.dev = f->st.st_dev,
		.ino = f->st.st_ino,
		.size = (uint64_t)f->st.st_size,
		.shmid = shmid,
		.local = f->path_only ? -1 : f->local,
	};
	return R_OK;
}

const struct taken_secret *fds_take_secrets(struct fds_take *take, size_t *n)
{
	*n = take->n_secrets;
	return take->secrets;
}

bool fds_take_is_secret(struct fds_take *take, uint32_t id)
{
	return id > 0 && id <= take->n_files && is_secret_memory(take->files[id - 1]);
}

/* ---- restore ---- */

void fds_restore_set_keys(struct fds_restore *restore, struct store *store,
			  const struct key_source *source)
{
	restore->store = store;
	restore->key_source = source;
}

static int open_keys(struct fds_restore *restore)
{
	static const struct key_source nowhere;
	int result;

	if (restore->keys)
		return R_OK;
	if (!restore->store)
		return R_FAILED;
	result =
	    store_keys_open(restore->store, restore->key_source ? restore->key_source : &nowhere,
			    false, &restore->keys);
	if (result == R_NOT_FOUND) {
		warn("the store has lost its file `keys`: put that of a copy of the store in its "
		     "place");
		result = R_UNSUPPORTED;
	}
	if (result == R_UNSUPPORTED)
		warn("generation %llu holds secret memory, which cannot be read without the key",
		     (unsigned long long)restore->generation);
	return result;
}

/* What stands in the way of all secrets alike, said once. */
static int check_all(struct fds_restore *restore)
{
	if (restore->secrets_refused)
		return restore->secrets_refused;
	if (!kernel_features()->memfd_secret) {
		warn("generation %llu holds secret memory, and this kernel has no memfd_secret(2): "
		     "restore it where there is one (older kernels: secretmem.enable=1)",
		     (unsigned long long)restore->generation);
		restore->secrets_refused = R_UNSUPPORTED;
	} else {
		restore->secrets_refused = open_keys(restore);
	}
	return restore->secrets_refused;
}

int secret_check(struct fds_restore *restore, const MemfdInodeEntry *entry, struct sealed **sealed)
{
	char name[32];
	int result = check_all(restore);

	if (result != R_OK)
		return result;
	secret_object_name(entry->shmid, name);
	result = sealed_open(restore->view, restore->generation, name, restore->keys, sealed);
	if (result == R_NOT_FOUND)
		warn("generation %llu: %s is not there; run 'snap verify'",
		     (unsigned long long)restore->generation, name);
	if (result != R_OK)
		return result == R_NOT_FOUND ? R_DAMAGED : result;
	if (sealed_size(*sealed) == entry->size)
		return sealed_check(*sealed);
	warn("generation %llu: %s has another size than the images say; run 'snap verify'",
	     (unsigned long long)restore->generation, name);
	return R_DAMAGED;
}

void secret_may_lock(pid_t pid)
{
	struct rlimit limit = { RLIM_INFINITY, RLIM_INFINITY };

	if (prlimit(pid, RLIMIT_MEMLOCK, &limit, NULL) == 0 ||
	    prlimit(pid, RLIMIT_MEMLOCK, NULL, &limit) != 0)
		return;
	limit.rlim_cur = limit.rlim_max;
	prlimit(pid, RLIMIT_MEMLOCK, &limit, NULL);
}

/* Straight into the new memory: nothing of it is anywhere else.  `index` goes on behind it. */
static int fill_window(int fd, struct sealed *sealed, uint64_t *index, uint64_t end)
{
	uint64_t first = *index, n = end - first < WINDOW_PAGES ? end - first : WINDOW_PAGES;
	uint8_t *map = mmap(NULL, n * PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
			    (off_t)(first * PAGE_BYTES));
	int result = R_OK;

	if (map == MAP_FAILED) {
		warn_errno("cannot map %llu bytes of secret memory%s",
			   (unsigned long long)(n * PAGE_BYTES),
			   errno == EAGAIN ? ", which counts as locked (ulimit -l)" : "");
		return R_FAILED;
	}
	while (result == R_OK && *index < first + n) {
		result = sealed_read(sealed, *index, 1, map + (*index - first) * PAGE_BYTES);
		++*index;
		if (!sealed_next(sealed, index))
			*index = end;
	}
	munmap(map, n * PAGE_BYTES);
	return result;
}

static int fill(int fd, const MemfdInodeEntry *entry, struct sealed *sealed)
{
	uint64_t index = 0, end = (entry->size + PAGE_BYTES - 1) / PAGE_BYTES;
	int result = R_OK;

	while (result == R_OK && sealed_next(sealed, &index) && index < end)
		result = fill_window(fd, sealed, &index, end);
	return result;
}

int secret_make(const MemfdInodeEntry *entry, struct sealed *sealed)
{
	int fd = (int)syscall(SYS_memfd_secret, O_CLOEXEC);

	/* Its size can be set once: what has none yet still waits for that. */
	if (fd < 0 || (entry->size && ftruncate(fd, (off_t)entry->size) != 0)) {
		warn_errno("cannot make secret memory of %llu bytes",
			   (unsigned long long)entry->size);
	} else if (fchown(fd, entry->uid, entry->gid) != 0 ||
		   (entry->has_mode && fchmod(fd, entry->mode) != 0)) {
		warn_errno("cannot give secret memory its owner and mode");
	} else {
		secret_may_lock(0);
		if (fill(fd, entry, sealed) == R_OK)
			return fd;
	}
	if (fd >= 0)
		close(fd);
	return -1;
}
