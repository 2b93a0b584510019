// SPDX-License-Identifier: GPL-2.0-or-later
/* Raw images of memory, whose layout the user tells: "GPA:BYTES@OFFSET,...", numbers as in C or
 * with K, M, G behind. */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

/* A number that ends at `until`; moves *s behind that. */
static bool number(const char **s, const char *until, uint64_t *out)
{
	unsigned int shift = 0;
	char *end;

	if (!isdigit((unsigned char)**s))
		return false;
	errno = 0;
	*out = strtoull(*s, &end, 0);
	if (errno)
		return false;
	switch (toupper((unsigned char)*end)) {
	case 'G':
		shift += 10;
		/* fallthrough */
	case 'M':
		shift += 10;
		/* fallthrough */
	case 'K':
		shift += 10;
		end++;
	}
	if (!strchr(until, *end) || *out > (UINT64_MAX >> shift))
		return false;
	*out <<= shift;
	*s = *end ? end + 1 : end;
	return true;
}

int vmi_raw_parse(struct vmi_target *t, const char *map, struct vmi_error *err)
{
	const char *s = map;

	do {
		struct vmi_region r = { .backing = VMI_BACKING_MAP, .fd = t->fds[0] };
		int error;

		if (!number(&s, ":", &r.gpa) || s[-1] != ':' || !number(&s, "@", &r.bytes) ||
		    s[-1] != '@' || !number(&s, ",", &r.offset) || !r.bytes ||
		    (!*s && s[-1] == ','))
			return vmi_fail(err, -EINVAL, "\"%s\" is no map: GPA:BYTES@OFFSET,...",
					map);
		error = vmi_target_add_region(t, &r);
		if (error)
			return vmi_fail(err, error, "the map has too many parts");
	} while (*s);
	snprintf(t->how_ram, sizeof(t->how_ram), "raw file, mapped");
	snprintf(t->how_layout, sizeof(t->how_layout), "as told by --map");
	snprintf(t->how_vcpus, sizeof(t->how_vcpus), "none: a raw file has no registers");
	return 0;
}
