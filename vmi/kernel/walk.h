/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A walk: reading a guest's virtual memory within a budget, and saying how it ended.
 *
 * Each table scan is one walk. Reads go through the guest's own page tables. When the budget is
 * used up, every further read fails with -ETIME, so that a walker needs no checks of its own beside
 * those of each read's status: loops end. `stop` says why the walk is not whole; results so far are
 * kept and shown together with it.
 *
 * Torn rows: a walker names the bytes that a row hangs on (vmi_witness), and at the row's end they
 * are read again; if they differ, the row was changed under the walk and says so.
 */
#ifndef VMI_WALK_H
#define VMI_WALK_H

#include "guest.h"

enum vmi_stop {
	VMI_STOP_NONE, /* whole */
	VMI_STOP_STEPS, /* the budget of reads */
	VMI_STOP_BYTES,
	VMI_STOP_TIME,
	VMI_STOP_CYCLE, /* a list that leads back into itself */
	VMI_STOP_LENGTH, /* a list or array longer than any real one */
	VMI_STOP_FAULT, /* a pointer that leads nowhere, where the walk needed it to go on */
	VMI_STOP_MEMORY, /* ours */
	VMI_STOP_CANCELLED, /* by the client */
	VMI_STOP_ROWS, /* as many rows as are allowed */
	VMI_STOP_ABSENT, /* pages that were asked for are not in memory */
	VMI_STOPS,
};

/* "steps", "cycle", ...; and one clause for a person. */
const char *vmi_stop_key(enum vmi_stop s);
const char *vmi_stop_text(enum vmi_stop s);

struct vmi_budget {
	uint64_t steps; /* reads and list steps */
	uint64_t bytes;
	uint64_t ns;
};

extern const struct vmi_budget vmi_budget_default; /* of one table scan */

#define VMI_WITNESSES 16
/* Entries for pages of 4 KiB, and as many for larger ones; a power of two. */
#define VMI_TLB	      256

struct vmi_tlb_entry {
	uint64_t pgd, page; /* page: its number | VMI_TLB_VALID, 0 = empty */
	uint64_t gpa, flags;
};

struct vmi_walk {
	struct vmi_guest *guest;
	struct vmi_budget left;
	uint64_t deadline_ns; /* CLOCK_MONOTONIC */
	enum vmi_stop stop; /* the first reason */
	char where[64]; /* where it stopped: "task_struct.tasks" */
	uint64_t steps, bytes, faults; /* done so far */
	const volatile int *cancel; /* NULL, or ends the walk when not 0 */
	/* private */
	struct {
		uint64_t gva;
		uint64_t value;
		uint32_t size;
	} witness[VMI_WITNESSES];
	unsigned int witnesses;
	bool torn;
	struct vmi_tlb_entry tlb[VMI_TLB], tlb_large[VMI_TLB];
};

void vmi_walk_start(struct vmi_walk *w, struct vmi_guest *g, const struct vmi_budget *b);
/* Notes why the walk is not whole; the first reason stays. Returns a negative errno value. */
int vmi_walk_stop(struct vmi_walk *w, enum vmi_stop why, const char *where);
/* Takes a step of the budget: 0 or -ETIME. For loops that read nothing. */
int vmi_step(struct vmi_walk *w);

/*
 * All of [gva, gva + len) in the kernel's address space; 0, or -EFAULT (not mapped, not RAM),
 * -EIO (memory.h), -ETIME (budget). On failure the buffer is zeroed.
 */
int vmi_read(struct vmi_walk *w, uint64_t gva, void *buf, size_t len);
/* The same in another address space; `pgd` is the gpa of its top page table. */
int vmi_read_as(struct vmi_walk *w, uint64_t pgd, uint64_t gva, void *buf, size_t len);
/* Physical. */
int vmi_read_phys(struct vmi_walk *w, uint64_t gpa, void *buf, size_t len);

/*
 * A page table walk (SDM vol. 3, 4.5): gpa, and bytes until the end of that page; -EFAULT if not
 * present. `flags` (may be NULL): VMI_PAGE_*. What a walk has translated it does not look up again.
 * Pages that Linux made inaccessible for a while (PROT_NONE, NUMA balancing) are there all the
 * same.
 */
#define VMI_PAGE_WRITE (1ull << 1) /* at every level */
#define VMI_PAGE_USER  (1ull << 2) /* at every level */
#define VMI_PAGE_NX    (1ull << 63) /* at any level */

int vmi_translate(struct vmi_walk *w, uint64_t pgd, uint64_t gva, uint64_t *gpa, uint64_t *left,
		  uint64_t *flags);

/* Little-endian unsigned of `size` 1, 2, 4, 8. */
int vmi_uint(struct vmi_walk *w, uint64_t gva, unsigned int size, uint64_t *out);
int vmi_ptr(struct vmi_walk *w, uint64_t gva, uint64_t *out);

/* A member of the struct at `base`: -ENOENT where this kernel has none. Bit fields are cut out. */
int vmi_get(struct vmi_walk *w, uint64_t base, const struct vmi_field *f, uint64_t *out);
/* The same, for chains: 0 where it cannot be had. */
uint64_t vmi_val(struct vmi_walk *w, uint64_t base, const struct vmi_field *f);
int64_t vmi_sval(struct vmi_walk *w, uint64_t base, const struct vmi_field *f);

/*
 * A text that ends with NUL or after size - 1 bytes. Returns its length or a negative errno value,
 * with buf[0] = 0. What it holds is any byte: it is made presentable where rows are made.
 */
int vmi_text(struct vmi_walk *w, uint64_t gva, char *buf, size_t size);
/* A char array member. */
int vmi_text_field(struct vmi_walk *w, uint64_t base, const struct vmi_field *f, char *buf,
		   size_t size);

/* -------------------------------------------------------------------------- structures of Linux */

/*
 * list_head: for (vmi_list_start(&l, w, head, where); (node = vmi_list_next(&l)); )
 * Ends at the head. A link whose back link does not agree marks the row torn; a cycle (Brent), a
 * fault or more than VMI_LIST_MAX nodes stop the walk.
 */
#define VMI_LIST_MAX (1u << 20)

struct vmi_list {
	struct vmi_walk *w;
	const char *where;
	uint64_t head, node, turtle;
	unsigned int n, power;
};

void vmi_list_start(struct vmi_list *l, struct vmi_walk *w, uint64_t head, const char *where);
uint64_t vmi_list_next(struct vmi_list *l);

/* hlist_head and hlist_nulls: the same. */
void vmi_hlist_start(struct vmi_list *l, struct vmi_walk *w, uint64_t head, const char *where);
uint64_t vmi_hlist_next(struct vmi_list *l);

/*
 * rb_root / rb_root_cached: in order, without recursion or parent pointers (depth <= 128). What
 * leads back stops the walk as a list's cycle does: to the right it is Brent's, to the left too
 * deep.
 */
#define VMI_RB_DEPTH 128

struct vmi_rb {
	struct vmi_walk *w;
	const char *where;
	uint64_t stack[VMI_RB_DEPTH], turtle;
	unsigned int depth, n, power, done;
};

void vmi_rb_start(struct vmi_rb *r, struct vmi_walk *w, uint64_t root, const char *where);
uint64_t vmi_rb_next(struct vmi_rb *r);

/*
 * xarray / idr / radix tree (include/linux/xarray.h): each entry that is a pointer, with its index;
 * internal nodes, retries and siblings are passed over, value entries are handed out as they are.
 * `xa` is the gva of the struct xarray. Returns false at the end.
 */
struct vmi_xa {
	struct vmi_walk *w;
	const char *where;
	struct {
		uint64_t node, base;
		unsigned int shift, slot;
	} stack[16];
	unsigned int depth, slots;
	struct vmi_field shift, slot; /* of struct xa_node */
	uint64_t single; /* an xarray of one entry */
};

void vmi_xa_start(struct vmi_xa *x, struct vmi_walk *w, uint64_t xa, const char *where);
bool vmi_xa_next(struct vmi_xa *x, uint64_t *index, uint64_t *entry);
/* The pointer at an index, as xa_load(); 0 = nothing there. */
uint64_t vmi_xa_load(struct vmi_walk *w, uint64_t xa, uint64_t index);

/*
 * maple tree (include/linux/maple_tree.h): each range with an entry, in order. `mt` is the gva of
 * the struct maple_tree.
 */
struct vmi_maple {
	struct vmi_walk *w;
	const char *where;
	struct {
		uint64_t node, min, max;
		unsigned int type, slot;
	} stack[32];
	unsigned int depth;
	struct vmi_field pivot[4], slot[4]; /* by enum maple_type */
	uint64_t single; /* a tree of one entry, for index 0 */
};

void vmi_maple_start(struct vmi_maple *m, struct vmi_walk *w, uint64_t mt, const char *where);
bool vmi_maple_next(struct vmi_maple *m, uint64_t *first, uint64_t *last, uint64_t *entry);

/* The address of a per-CPU variable (a symbol's or a member's value) on a CPU; 0 = none. */
uint64_t vmi_per_cpu(struct vmi_walk *w, uint64_t percpu_addr, unsigned int cpu);

/* ------------------------------------------------------------------------------------ witnesses */

/*
 * What the row hangs on: `value` was read at gva (size 1, 2, 4 or 8). At most VMI_WITNESSES a row.
 */
void vmi_witness(struct vmi_walk *w, uint64_t gva, unsigned int size, uint64_t value);
/* For rows: start afresh; and whether anything differs now, or a list was seen to be torn. */
void vmi_witness_reset(struct vmi_walk *w);
bool vmi_witness_torn(struct vmi_walk *w);

#endif /* VMI_WALK_H */
