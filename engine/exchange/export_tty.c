/* Terminals as CRIU has them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "base/result.h"
#include "base/warn.h"
#include "engine/exchange/export_files.h"

#define CRIU_CC 19 /* words, the first of which hold the bytes */
#define TTY_ID(index, master) (2 * (index) + ((master) ? 1 : 0))

/* The path by which CRIU would open a slave. */
static int add_path(struct export_files *f, const TtyFileEntry *tty, uint32_t index)
{
	FileEntry *file = calloc(1, sizeof(*file));
	RegFileEntry *reg = calloc(1, sizeof(*reg));
	FownEntry *fown = calloc(1, sizeof(*fown));
	char path[32];

	if (!file || !reg || !fown)
		goto err0;
	file_entry__init(file);
	reg_file_entry__init(reg);
	fown_entry__init(fown);
	snprintf(path, sizeof(path), "/dev/pts/%u", index);
	reg->name = strdup(path);
	if (!reg->name)
		goto err0;
	file->type = FD_TYPES__REG;
	file->id = reg->id = tty->regf_id;
	file->reg = reg;
	reg->flags = tty->flags;
	reg->fown = fown;
	return entries_add(&f->files, &file->base);

err0:
	free(fown);
	free(reg);
	free(file);
	warn("out of memory");
	return R_FAILED;
}

int export_tty(struct export_files *f, TtyFileEntry *tty)
{
	uint32_t index = tty->tty_info_id - 1;
	bool master = tty->has_regf_id;

	tty->tty_info_id = TTY_ID(index, master);
	if (master)
		return R_OK;
	tty->has_regf_id = true;
	tty->regf_id = f->next_id++;
	return add_path(f, tty, index);
}

static bool tty_is_open(const struct export_files *f, uint32_t info_id)
{
	for (size_t i = 0; i < f->files.n; i++)
		if (file_at(f, i)->type == FD_TYPES__TTY && file_at(f, i)->tty &&
		    file_at(f, i)->tty->tty_info_id == info_id)
			return true;
	return false;
}

static void pack_characters(TermiosEntry *termios, uint32_t words[CRIU_CC])
{
	memset(words, 0, CRIU_CC * sizeof(*words));
	for (size_t i = 0; i < termios->n_c_cc && i < CRIU_CC; i++)
		words[i / 4] |= (termios->c_cc[i] & 0xff) << i % 4 * 8;
}

/* The master and the slave of one terminal, of those that are open. */
static void add_tty_info(const struct export_files *f, struct image_writer *writer,
			 TtyInfoEntry *info)
{
	TermiosEntry locked = TERMIOS_ENTRY__INIT, *termios = info->termios;
	uint32_t nothing[CRIU_CC] = { 0 }, words[CRIU_CC], *own = termios->c_cc;
	uint32_t slave_rdev = info->rdev;
	size_t n = termios->n_c_cc;

	pack_characters(termios, words);
	termios->c_cc = words;
	locked.c_cc = nothing;
	termios->n_c_cc = locked.n_c_cc = CRIU_CC;
	info->termios_locked = &locked;
	for (int master = 1; master >= 0; master--) {
		info->id = TTY_ID(info->pty->index, master);
		info->rdev = master ? (uint32_t)makedev(5, 2) : slave_rdev;
		if (tty_is_open(f, info->id))
			image_add(writer, &info->base);
	}
	info->termios_locked = NULL;
	termios->c_cc = own;
	termios->n_c_cc = n;
}

int export_tty_info(struct export_dir *ex)
{
	struct entries infos = { 0 };
	struct image_writer writer;
	int rc = entries_read(ex, IMAGE_TTY_INFO, "tty-info", &infos);

	image_writer_init(&writer, IMAGE_TTY_INFO);
	for (size_t i = 0; rc == R_OK && i < infos.n; i++) {
		TtyInfoEntry *info = (TtyInfoEntry *)infos.list[i];

		if (info->pty && info->termios && !info->termios_locked)
			add_tty_info(ex->files, &writer, info);
		else
			image_add(&writer, &info->base);
	}
	entries_free(&infos);
	if (rc == R_OK)
		return export_image(ex, "tty-info.img", &writer);
	image_writer_free(&writer);
	return rc;
}
