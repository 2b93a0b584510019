/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Programs of BPF that are loaded, as bpftool-prog(8) lists them (Linux: kernel/bpf/syscall.c). */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "code.h"

enum {
	COL_ID,
	COL_TYPE,
	COL_NAME,
	COL_TAG,
	COL_LOADED_NS,
	COL_UID,
	COL_GPL,
	COL_JITED,
	COL_ADDRESS,
	COL_BYTES_JITED,
	COL_INSNS,
	COL_BYTES_XLATED,
	COL_MAP_IDS,
	COL_LINK_IDS,
	COL_ATTACH,
	COL_BTF_ID,
	COL_FUNCTIONS,
};

static const struct vmi_column columns[] = {
	[COL_ID] = { "id", VMI_INTEGER, "its number" },
	[COL_TYPE] = { "type", VMI_TEXT, "kprobe, tracing, cgroup_skb, xdp, ..." },
	[COL_NAME] = { "name", VMI_TEXT, "as its loader named it, at most 15 bytes" },
	[COL_TAG] = { "tag", VMI_TEXT, "digest of its instructions, hex" },
	[COL_LOADED_NS] = { "loaded_ns", VMI_INTEGER,
			    "when it was loaded: nanoseconds since boot" },
	[COL_UID] = { "uid", VMI_INTEGER, "user who loaded it" },
	[COL_GPL] = { "gpl_compatible", VMI_INTEGER, "1: by its licence" },
	[COL_JITED] = { "jited", VMI_INTEGER, "1: it is machine code" },
	[COL_ADDRESS] = { "address", VMI_TEXT, "its machine code" },
	[COL_BYTES_JITED] = { "bytes_jited", VMI_INTEGER, "size of that, with its functions" },
	[COL_INSNS] = { "insns", VMI_INTEGER, "instructions of BPF, after the verifier" },
	[COL_BYTES_XLATED] = { "bytes_xlated", VMI_INTEGER, "size of those" },
	[COL_MAP_IDS] = { "map_ids", VMI_TEXT, "maps that it uses, by comma" },
	[COL_LINK_IDS] = { "link_ids", VMI_TEXT,
			   "links that attach it, by comma, each with its type" },
	[COL_ATTACH] = { "attach_function", VMI_TEXT,
			 "function of the kernel that it was made for" },
	[COL_BTF_ID] = { "btf_id", VMI_INTEGER, "its types; NULL = none" },
	[COL_FUNCTIONS] = { "functions", VMI_INTEGER, "how many it has; 0 = only itself" },
};

#define FUNCTIONS_MAX 4096
#define MAPS_MAX      64 /* MAX_USED_MAPS */
#define LINKS_MAX     65536
#define TEXT_MAX      4096

struct types {
	struct vmi_field jited, gpl, type, len, jited_len, tag, func, aux;
	struct vmi_field id, name, load_time, user, uid, maps, map_cnt, subprogs, func_cnt, attach;
	struct vmi_field btf, btf_id, map_id, link_id, link_type, link_prog;
};

struct link {
	uint64_t prog;
	uint32_t id;
	int32_t type;
};

struct scan {
	struct vmi_rows *r;
	struct vmi_walk *w;
	struct vmi_guest *g;
	struct types t;
	struct link *links;
	size_t n_links;
};

static int find_types(struct types *t, struct vmi_guest *g)
{
	const struct {
		const char *path;
		struct vmi_field *field;
		bool needed;
	} all[] = {
		{ "bpf_prog.aux", &t->aux, true },
		{ "bpf_prog.type", &t->type, true },
		{ "bpf_prog_aux.id", &t->id, true },
		{ "bpf_prog.jited", &t->jited, false },
		{ "bpf_prog.gpl_compatible", &t->gpl, false },
		{ "bpf_prog.len", &t->len, false },
		{ "bpf_prog.jited_len", &t->jited_len, false },
		{ "bpf_prog.tag", &t->tag, false },
		{ "bpf_prog.bpf_func", &t->func, false },
		{ "bpf_prog_aux.name", &t->name, false },
		{ "bpf_prog_aux.load_time", &t->load_time, false },
		{ "bpf_prog_aux.user", &t->user, false },
		{ "user_struct.uid", &t->uid, false },
		{ "bpf_prog_aux.used_maps", &t->maps, false },
		{ "bpf_prog_aux.used_map_cnt", &t->map_cnt, false },
		{ "bpf_prog_aux.func", &t->subprogs, false },
		{ "bpf_prog_aux.func_cnt", &t->func_cnt, false },
		{ "bpf_prog_aux.attach_func_name", &t->attach, false },
		{ "bpf_prog_aux.btf", &t->btf, false },
		{ "btf.id", &t->btf_id, false },
		{ "bpf_map.id", &t->map_id, false },
		{ "bpf_link.id", &t->link_id, false },
		{ "bpf_link.type", &t->link_type, false },
		{ "bpf_link.prog", &t->link_prog, false },
	};

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		if (vmi_field(g, all[i].path, all[i].field) && all[i].needed)
			return -ENOENT;
	}
	return 0;
}

/* An idr keeps its entries in the xarray that it starts with. */
static void load_links(struct scan *s)
{
	uint64_t idr = vmi_sym(s->g, "link_idr"), index, link;
	struct vmi_xa x;
	size_t room = 0;

	if (!idr || !s->t.link_prog.present)
		return;
	vmi_xa_start(&x, s->w, idr, "link_idr");
	while (s->n_links < LINKS_MAX && vmi_xa_next(&x, &index, &link)) {
		if (s->n_links == room) {
			struct link *more = reallocarray(s->links, room + 256, sizeof(*more));

			if (!more)
				return;
			s->links = more;
			room += 256;
		}
		s->links[s->n_links++] = (struct link){
			.prog = vmi_val(s->w, link, &s->t.link_prog),
			.id = (uint32_t)vmi_val(s->w, link, &s->t.link_id),
			.type = (int32_t)vmi_val(s->w, link, &s->t.link_type),
		};
	}
}

/* "BPF_PROG_TYPE_SCHED_CLS" -> "sched_cls", as bpftool and libbpf say it. */
static void enum_name(const struct scan *s, const char *in, const char *prefix, int64_t value,
		      char *buf, size_t size)
{
	const char *name = vmi_types_enum_name(s->g->types, in, value);
	size_t n = strlen(prefix);

	if (!name || strncmp(name, prefix, n)) {
		snprintf(buf, size, "%lld", (long long)value);
		return;
	}
	snprintf(buf, size, "%s", name + n);
	for (char *p = buf; *p; p++)
		*p |= *p >= 'A' && *p <= 'Z' ? 0x20 : 0;
}

static void type(struct scan *s, uint64_t prog)
{
	char text[64];

	enum_name(s, "bpf_prog_type", "BPF_PROG_TYPE_", (int64_t)vmi_val(s->w, prog, &s->t.type),
		  text, sizeof(text));
	vmi_str(s->r, COL_TYPE, text);
}

static void tag(struct scan *s, uint64_t prog)
{
	uint8_t b[8];

	if (s->t.tag.present && s->t.tag.size >= sizeof(b) &&
	    !vmi_read(s->w, prog + s->t.tag.offset, b, sizeof(b)))
		vmi_strf(s->r, COL_TAG, "%02x%02x%02x%02x%02x%02x%02x%02x", b[0], b[1], b[2], b[3],
			 b[4], b[5], b[6], b[7]);
}

static void map_ids(struct scan *s, uint64_t aux)
{
	uint64_t maps = vmi_val(s->w, aux, &s->t.maps), n = vmi_val(s->w, aux, &s->t.map_cnt), map;
	char text[TEXT_MAX] = "";
	size_t len = 0;

	for (uint64_t i = 0; maps && i < n && i < MAPS_MAX; i++) {
		if (vmi_ptr(s->w, maps + i * 8, &map))
			break;
		len += (size_t)snprintf(text + len, sizeof(text) - len, "%s%llu", len ? "," : "",
					(unsigned long long)vmi_val(s->w, map, &s->t.map_id));
	}
	vmi_str(s->r, COL_MAP_IDS, text);
}

static void link_ids(struct scan *s, uint64_t prog)
{
	char text[TEXT_MAX] = "", kind[64];
	size_t len = 0;

	for (size_t i = 0; i < s->n_links && len < sizeof(text) - 100; i++) {
		if (s->links[i].prog != prog)
			continue;
		enum_name(s, "bpf_link_type", "BPF_LINK_TYPE_", s->links[i].type, kind,
			  sizeof(kind));
		len += (size_t)snprintf(text + len, sizeof(text) - len, "%s%u %s", len ? "," : "",
					s->links[i].id, kind);
	}
	vmi_str(s->r, COL_LINK_IDS, text);
}

/* A program of several functions has its machine code in them; the first is its entry. */
static void machine_code(struct scan *s, uint64_t prog, uint64_t aux)
{
	uint64_t n = vmi_val(s->w, aux, &s->t.func_cnt), v = vmi_val(s->w, aux, &s->t.subprogs);
	uint64_t bytes = vmi_val(s->w, prog, &s->t.jited_len), sum = 0, f;
	bool jited = vmi_val(s->w, prog, &s->t.jited);

	vmi_int(s->r, COL_JITED, jited);
	vmi_int(s->r, COL_FUNCTIONS, (int64_t)n);
	if (!jited)
		return;
	vmi_hex(s->r, COL_ADDRESS, vmi_val(s->w, prog, &s->t.func));
	for (uint64_t i = 0; v && i < n && i < FUNCTIONS_MAX; i++) {
		if (vmi_ptr(s->w, v + i * 8, &f))
			break;
		sum += vmi_val(s->w, f, &s->t.jited_len);
	}
	vmi_int(s->r, COL_BYTES_JITED, (int64_t)(sum ? sum : bytes));
}

static void owner(struct scan *s, uint64_t aux)
{
	uint64_t user = vmi_val(s->w, aux, &s->t.user), uid;

	if (user && !vmi_get(s->w, user, &s->t.uid, &uid))
		vmi_int(s->r, COL_UID, (int64_t)uid);
}

static bool row(struct scan *s, uint64_t prog)
{
	uint64_t aux = vmi_val(s->w, prog, &s->t.aux), name, btf, len;
	char text[128];

	vmi_row(s->r);
	vmi_witness(s->w, prog + s->t.aux.offset, 8, aux);
	vmi_int(s->r, COL_ID, (int64_t)vmi_val(s->w, aux, &s->t.id));
	type(s, prog);
	if (vmi_text_field(s->w, aux, &s->t.name, text, sizeof(text)) >= 0)
		vmi_str(s->r, COL_NAME, text);
	tag(s, prog);
	vmi_int(s->r, COL_LOADED_NS, (int64_t)vmi_val(s->w, aux, &s->t.load_time));
	owner(s, aux);
	vmi_int(s->r, COL_GPL, (int64_t)vmi_val(s->w, prog, &s->t.gpl));
	machine_code(s, prog, aux);
	len = vmi_val(s->w, prog, &s->t.len);
	vmi_int(s->r, COL_INSNS, (int64_t)len);
	vmi_int(s->r, COL_BYTES_XLATED, (int64_t)(len * 8));
	map_ids(s, aux);
	link_ids(s, prog);
	name = vmi_val(s->w, aux, &s->t.attach);
	if (name && vmi_text(s->w, name, text, sizeof(text)) > 0)
		vmi_str(s->r, COL_ATTACH, text);
	btf = vmi_val(s->w, aux, &s->t.btf);
	if (btf)
		vmi_int(s->r, COL_BTF_ID, (int64_t)vmi_val(s->w, btf, &s->t.btf_id));
	return vmi_row_end(s->r);
}

static int rows(struct vmi_rows *r)
{
	struct scan s = { .r = r, .w = vmi_rows_walk(r), .g = vmi_rows_guest(r) };
	uint64_t idr = vmi_sym(s.g, "prog_idr"), index, prog;
	struct vmi_xa x;

	if (!idr || find_types(&s.t, s.g))
		return vmi_rows_error(
			r, "this kernel has no BPF programs, or their struct is unknown");
	load_links(&s);
	vmi_xa_start(&x, s.w, idr, "prog_idr");
	while (vmi_xa_next(&x, &index, &prog)) {
		if (row(&s, prog))
			break;
	}
	free(s.links);
	return 0;
}

const struct vmi_table vmi_table_bpf_programs = {
	.name = "bpf_programs",
	.doc = "Programs of BPF that are loaded into the guest's kernel.",
	.origin = VMI_OURS,
	.needs = VMI_LEVEL_TYPES,
	.columns = columns,
	.n_columns = sizeof(columns) / sizeof(columns[0]),
	.rows = rows,
};
