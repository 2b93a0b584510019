// SPDX-License-Identifier: GPL-2.0-or-later
#include "settings.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_NAME      "iho-top.json"
#define FILE_MAX_BYTES (1 << 20) /* no settings file of ours comes near it */

static const char *const theme_names[IHO_THEME_MAX] = {
	[IHO_THEME_DEFAULT] = "default",
	[IHO_THEME_LIGHT] = "light",
	[IHO_THEME_MONO] = "mono",
	[IHO_THEME_HIGH_CONTRAST] = "high-contrast",
};

static const char *const sorted_names[IHO_SORTED_MAX] = {
	[IHO_SORTED_OVERVIEW] = "overview",
	[IHO_SORTED_EXITS] = "exits",
	[IHO_SORTED_DRILL] = "drill",
	[IHO_SORTED_VCPUS] = "vcpus",
	[IHO_SORTED_INTERLOPERS] = "interlopers",
	[IHO_SORTED_INTERRUPTS] = "interrupts",
	[IHO_SORTED_TENANT] = "tenant",
};

static const struct {
	const char *key;
	size_t offset;
} flags[] = {
	{ "ascii", offsetof(struct iho_settings, ascii) },
	{ "tree", offsetof(struct iho_settings, tree) },
	{ "mouse", offsetof(struct iho_settings, mouse) },
};

#define N_FLAGS (sizeof(flags) / sizeof(flags[0]))

const char *iho_theme_name(enum iho_theme theme)
{
	return theme < IHO_THEME_MAX ? theme_names[theme] : "";
}

void iho_settings_init(struct iho_settings *s)
{
	memset(s, 0, sizeof(*s));
	s->delay_s = 1.0;
	s->mouse = true;
}

void iho_settings_free(struct iho_settings *s)
{
	json_decref(s->file);
	s->file = NULL;
}

/* The folder of the file. XDG: a relative XDG_CONFIG_HOME is to be ignored. */
static int config_dir(char *buf, size_t len, struct iho_error *err)
{
	const char *xdg = getenv("XDG_CONFIG_HOME");
	const char *home = getenv("HOME");
	int n;

	if (xdg && xdg[0] == '/') {
		n = snprintf(buf, len, "%s/iho", xdg);
	} else if (home && home[0] == '/') {
		n = snprintf(buf, len, "%s/.config/iho", home);
	} else {
		snprintf(err->text, sizeof(err->text),
			 "settings: neither XDG_CONFIG_HOME nor HOME names a folder");
		return -ENOENT;
	}
	if (n < 0 || (size_t)n >= len) {
		snprintf(err->text, sizeof(err->text), "settings: the folder's name is too long");
		return -ENAMETOOLONG;
	}
	return 0;
}

static int config_file(char *buf, size_t len, struct iho_error *err)
{
	char dir[PATH_MAX - sizeof(FILE_NAME) - 16];
	int rc = config_dir(dir, sizeof(dir), err);

	if (!rc)
		snprintf(buf, len, "%s/" FILE_NAME, dir);
	return rc;
}

static int complain(struct iho_error *err, int rc, const char *path, const char *what)
{
	snprintf(err->text, sizeof(err->text), "settings: %.300s: %.160s", path, what);
	return rc;
}

static int read_delay(struct iho_settings *s, const json_t *root)
{
	const json_t *v = json_object_get(root, "delay");
	double d = json_number_value(v);

	if (!v)
		return 0;
	if (!json_is_number(v) || !(d >= IHO_DELAY_MIN_S && d <= IHO_DELAY_MAX_S))
		return -EINVAL;
	s->delay_s = d;
	return 0;
}

static int read_theme(struct iho_settings *s, const json_t *root)
{
	const json_t *v = json_object_get(root, "theme");
	int i;

	if (!v)
		return 0;
	for (i = 0; json_is_string(v) && i < IHO_THEME_MAX; i++) {
		if (!strcmp(json_string_value(v), theme_names[i])) {
			s->theme = i;
			return 0;
		}
	}
	return -EINVAL;
}

static int read_flag(struct iho_settings *s, const json_t *root, const char *key, size_t offset)
{
	const json_t *v = json_object_get(root, key);

	if (!v)
		return 0;
	if (!json_is_boolean(v))
		return -EINVAL;
	*(bool *)((char *)s + offset) = json_is_true(v);
	return 0;
}

static int read_sort(struct iho_settings *s, const json_t *root)
{
	const json_t *sort = json_object_get(root, "sort");
	int i;

	if (!sort)
		return 0;
	if (!json_is_object(sort))
		return -EINVAL;
	for (i = 0; i < IHO_SORTED_MAX; i++) {
		const json_t *v = json_object_get(sort, sorted_names[i]);
		const json_t *column = json_object_get(v, "column");
		const json_t *invert = json_object_get(v, "invert");

		if ((v && !json_is_object(v)) || (column && !json_is_string(column)) ||
		    (invert && !json_is_boolean(invert)))
			return -EINVAL;
		if (column)
			snprintf(s->sort[i].column, sizeof(s->sort[i].column), "%.23s",
				 json_string_value(column));
		s->sort[i].invert = json_is_true(invert);
	}
	return 0;
}

/* Takes over every good value; the message names the first bad one. */
static int read_values(struct iho_settings *s, const json_t *root, const char *path,
		       struct iho_error *err)
{
	const char *bad = NULL;
	char what[160];
	size_t i;

	if (read_delay(s, root))
		bad = "\"delay\" must be a number from 0.1 to 3600";
	if (read_theme(s, root))
		bad = "\"theme\" must be default, light, mono or high-contrast";
	if (read_sort(s, root))
		bad = "\"sort\" must be {SCREEN: {\"column\": TEXT, \"invert\": BOOLEAN}}";
	for (i = 0; i < N_FLAGS; i++) {
		if (read_flag(s, root, flags[i].key, flags[i].offset)) {
			snprintf(what, sizeof(what), "\"%s\" must be true or false", flags[i].key);
			bad = what;
		}
	}
	return bad ? complain(err, -EINVAL, path, bad) : 0;
}

/* Opens a plain file only: a FIFO or a device in its place must not hang or flood us. */
static int open_plain(const char *path, struct iho_error *err)
{
	int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	struct stat st;

	if (fd < 0)
		return complain(err, -errno, path, strerror(errno));
	if (!fstat(fd, &st) && S_ISREG(st.st_mode) && st.st_size <= FILE_MAX_BYTES)
		return fd;
	close(fd);
	return complain(err, -EINVAL, path, "not a plain file of at most 1 MiB");
}

int iho_settings_load(struct iho_settings *s, struct iho_error *err)
{
	char path[PATH_MAX], what[160];
	json_error_t je;
	int fd, rc;

	iho_settings_init(s);
	rc = config_file(path, sizeof(path), err);
	if (rc)
		return 0; /* nowhere to look is no fault yet; saving will say so */
	fd = open_plain(path, err);
	if (fd == -ENOENT || fd == -ENOTDIR)
		return 0;
	if (fd < 0) {
		s->broken = true;
		return fd;
	}
	s->file = json_loadfd(fd, 0, &je);
	close(fd);
	if (json_is_object(s->file))
		return read_values(s, s->file, path, err);
	if (s->file)
		snprintf(what, sizeof(what), "not a JSON object");
	else
		snprintf(what, sizeof(what), "line %d: %.120s", je.line, je.text);
	json_decref(s->file);
	s->file = NULL;
	s->broken = true;
	return complain(err, -EINVAL, path, what);
}

/* The object at `key`, made anew where the file had none. */
static json_t *sub_object(json_t *parent, const char *key)
{
	json_t *v = json_object_get(parent, key);

	if (!json_is_object(v)) {
		json_object_set_new(parent, key, json_object());
		v = json_object_get(parent, key);
	}
	return v;
}

/* Returns 0, or -1 where memory ran out: jansson's setters fail on a NULL object or value. */
static int write_values(const struct iho_settings *s, json_t *root)
{
	json_t *sort;
	size_t i;
	int rc = 0;

	rc |= json_object_set_new(root, "delay", json_real(s->delay_s));
	rc |= json_object_set_new(root, "theme", json_string(theme_names[s->theme]));
	for (i = 0; i < N_FLAGS; i++)
		rc |= json_object_set_new(
			root, flags[i].key,
			json_boolean(*(const bool *)((const char *)s + flags[i].offset)));
	sort = sub_object(root, "sort");
	for (i = 0; i < IHO_SORTED_MAX; i++) {
		json_t *v;

		if (!s->sort[i].column[0] && !s->sort[i].invert)
			continue;
		v = sub_object(sort, sorted_names[i]);
		rc |= json_object_set_new(v, "column", json_string(s->sort[i].column));
		rc |= json_object_set_new(v, "invert", json_boolean(s->sort[i].invert));
	}
	return rc;
}

/* mkdir -p */
static int make_dirs(char *path)
{
	char *p;

	for (p = path + 1;; p++) {
		char was = *p;

		if (was != '/' && was)
			continue;
		*p = '\0';
		if (mkdir(path, 0700) && errno != EEXIST)
			return -errno;
		*p = was;
		if (!was)
			return 0;
	}
}

/* The new file stands beside the old one until it is complete. */
static int replace_file(const char *path, const json_t *root)
{
	char tmp[PATH_MAX + 16];
	int fd, rc = 0;

	snprintf(tmp, sizeof(tmp), "%s.XXXXXX", path);
	fd = mkstemp(tmp);
	if (fd < 0)
		return -errno;
	errno = EIO;
	if (json_dumpfd(root, fd, JSON_INDENT(2) | JSON_REAL_PRECISION(6)) || fsync(fd))
		rc = -errno;
	if (close(fd) && !rc)
		rc = -errno;
	if (!rc && rename(tmp, path))
		rc = -errno;
	if (rc)
		unlink(tmp);
	return rc;
}

int iho_settings_save(struct iho_settings *s, struct iho_error *err)
{
	char dir[PATH_MAX - sizeof(FILE_NAME) - 16], path[PATH_MAX];
	int rc;

	rc = config_dir(dir, sizeof(dir), err);
	if (rc)
		return rc;
	snprintf(path, sizeof(path), "%s/" FILE_NAME, dir);
	if (s->broken)
		return complain(err, -EINVAL, path, "not saved over a file that cannot be read");
	if (!s->file)
		s->file = json_object();
	if (!s->file || write_values(s, s->file))
		return complain(err, -ENOMEM, path, "not saved, out of memory");
	rc = make_dirs(dir);
	if (!rc)
		rc = replace_file(path, s->file);
	if (rc) {
		snprintf(err->text, sizeof(err->text), "settings: %.300s: not saved: %s", path,
			 strerror(-rc));
		return rc;
	}
	return 0;
}
