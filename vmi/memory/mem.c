// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Guest physical memory: regions, sorted by address, each with one of three backings. See mem.h.
 *
 * A mapped file may become shorter while it is read, and the kernel then answers the load with
 * SIGBUS. The copy is therefore done behind a sigsetjmp() that saves no signal mask (so it makes no
 * system call), and the handler jumps back to it when, and only when, the address is one that this
 * thread is copying from. Any other SIGBUS goes where it would have gone without us.
 *
 * Loading from a mapped hole of a memfd or of hugetlbfs makes the kernel allocate the page, in the
 * guest's name: looking at memory that a guest never used, or gave back through its balloon, would
 * fill it. So a page is read through the mapping only when it is known to be there: SEEK_DATA tells
 * for whole extents, and where it does not, pread() does, which reads holes as zeros.
 */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mem.h"

#define REGIONS_MAX 4096
#define GPA_MAX	    (1ULL << 52) /* the widest MAXPHYADDR (SDM 4.1.4) */

struct mapping {
	const char *base; /* NULL = nothing is mapped */
	size_t len; /* what the file has of the region */
	uint64_t offset; /* in the file, of base */
	uint64_t at; /* of the region's first byte, from base */
	bool seeks; /* SEEK_DATA finds holes in this file */
	uint64_t *present, *looked; /* bits of pages, and of chunks that were asked for */
};

#define PAGE	    4096u
#define CHUNK	    (2u << 20)
#define EXTENTS_MAX 64 /* that are looked for in a chunk */

struct vmi_mem {
	struct vmi_region *regions;
	struct mapping *maps;
	size_t n;
	size_t last; /* where the last read was: the next one is likely there too */
	vmi_read_fn read;
	void *arg;
};

/* What this thread copies from a mapping at the moment. */
static _Thread_local struct {
	volatile sig_atomic_t active;
	uintptr_t from, end;
	sigjmp_buf resume;
} copying;

static struct sigaction previous;

static void on_sigbus(int sig, siginfo_t *info, void *context)
{
	uintptr_t addr = (uintptr_t)info->si_addr;

	if (copying.active && info->si_code > 0 && addr >= copying.from && addr < copying.end) {
		copying.active = 0;
		siglongjmp(copying.resume, 1);
	}
	/* Somebody else's: a fault comes again when the instruction is, a sent signal must be sent.
	 */
	sigaction(SIGBUS, &previous, NULL);
	if (info->si_code <= 0)
		raise(SIGBUS);
}

/* At each opening: whoever installed a handler since the last one did not know about ours. */
static int catch_sigbus(void)
{
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	struct sigaction now, ours = {
		.sa_sigaction = on_sigbus,
		/* The handler is left by a jump, which does not unblock: so do not block. */
		.sa_flags = SA_SIGINFO | SA_NODEFER | SA_ONSTACK,
	};
	int err = 0;

	sigemptyset(&ours.sa_mask);
	pthread_mutex_lock(&lock);
	if (sigaction(SIGBUS, NULL, &now)) {
		err = -errno;
	} else if (!(now.sa_flags & SA_SIGINFO) || now.sa_sigaction != on_sigbus) {
		previous = now;
		if (sigaction(SIGBUS, &ours, NULL))
			err = -errno;
	}
	pthread_mutex_unlock(&lock);
	return err;
}

/* Copies from a mapping: 0, or -EIO where its file has no (more) bytes. */
static int copy(void *buf, const char *from, size_t len)
{
	copying.from = (uintptr_t)from;
	copying.end = (uintptr_t)from + len;
	if (sigsetjmp(copying.resume, 0))
		return -EIO;
	copying.active = 1;
	/* One load for what the guest writes with one store: pointers and page table entries. */
	if (len == sizeof(uint64_t) && !((uintptr_t)from & 7)) {
		uint64_t v = *(const volatile uint64_t *)from;

		memcpy(buf, &v, sizeof(v));
	} else {
		memcpy(buf, from, len);
	}
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	copying.active = 0;
	return 0;
}

static int read_file(int fd, uint64_t offset, char *buf, size_t len)
{
	while (len) {
		ssize_t n = pread(fd, buf, len, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) /* /proc/PID/mem reads as empty when the process has ended */
			return -EIO;
		buf += n;
		offset += (size_t)n;
		len -= (size_t)n;
	}
	return 0;
}

static int by_gpa(const void *a, const void *b)
{
	const struct vmi_region *x = a, *y = b;

	return x->gpa < y->gpa ? -1 : x->gpa > y->gpa;
}

/* Regions must be sane whoever gave them: they may come from a dump's headers. */
static int check(const struct vmi_region *r, size_t n, vmi_read_fn read)
{
	uint64_t end = 0;

	for (size_t i = 0; i < n; i++) {
		if (!r[i].bytes || r[i].gpa < end || r[i].gpa >= GPA_MAX ||
		    r[i].bytes > GPA_MAX - r[i].gpa)
			return -EINVAL;
		end = r[i].gpa + r[i].bytes;
		switch (r[i].backing) {
		case VMI_BACKING_MAP:
		case VMI_BACKING_PREAD:
			if (r[i].fd < 0 || r[i].offset > INT64_MAX ||
			    r[i].bytes > INT64_MAX - r[i].offset)
				return -EINVAL;
			break;
		case VMI_BACKING_CALL:
			if (!read)
				return -EINVAL;
			break;
		default:
			return -EINVAL;
		}
	}
	return 0;
}

static void set_bits(uint64_t *v, uint64_t first, uint64_t n)
{
	while (n) {
		uint64_t at = first % 64, now = 64 - at < n ? 64 - at : n;

		v[first / 64] |= (now == 64 ? ~0ULL : (1ULL << now) - 1) << at;
		first += now;
		n -= now;
	}
}

static bool bit(const uint64_t *v, uint64_t i)
{
	return v[i / 64] >> (i % 64) & 1;
}

/*
 * The size of the pages that the file consists of: hugetlbfs tells it as st_blksize, as other file
 * systems may too, but is the only one that maps nothing else.
 */
static uint64_t page_size_of(int fd)
{
	struct stat st;
	void *p;

	if (fstat(fd, &st) || st.st_blksize <= PAGE || (st.st_blksize & (st.st_blksize - 1)))
		return PAGE;
	p = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, PAGE);
	if (p == MAP_FAILED)
		return (uint64_t)st.st_blksize;
	munmap(p, PAGE);
	return PAGE;
}

/* As much of `len` bytes as the file has: headers can promise any number of them. */
static uint64_t within_file(int fd, uint64_t offset, uint64_t len, uint64_t page)
{
	struct stat st;
	uint64_t left;

	if (fstat(fd, &st) || !S_ISREG(st.st_mode))
		return len;
	left = (uint64_t)st.st_size > offset ? (uint64_t)st.st_size - offset : 0;
	left = (left + page - 1) & ~(page - 1);
	return left < len ? left : len;
}

static int map(const struct vmi_region *r, struct mapping *out)
{
	uint64_t page = page_size_of(r->fd), before, len;
	void *p;

	before = r->offset & (page - 1);
	len = (r->bytes + before + page - 1) & ~(page - 1);
	len = within_file(r->fd, r->offset - before, len, page);
	if (!len)
		return 0;
	p = mmap(NULL, len, PROT_READ, MAP_SHARED, r->fd, (off_t)(r->offset - before));
	if (p == MAP_FAILED)
		return -errno;
	/* hugetlbfs takes SEEK_DATA, and calls all of the file data (fs/hugetlbfs/inode.c) */
	*out = (struct mapping){ .base = p,
				 .len = len,
				 .offset = r->offset - before,
				 .at = before,
				 .seeks = page == PAGE };
	out->present = calloc(len / PAGE / 64 + 1, sizeof(*out->present));
	out->looked = calloc(len / CHUNK / 64 + 1, sizeof(*out->looked));
	return out->present && out->looked ? 0 : -ENOMEM;
}

static void unmap(struct mapping *map)
{
	if (map->base)
		munmap((void *)map->base, map->len);
	free(map->present);
	free(map->looked);
}

int vmi_mem_open(struct vmi_mem **out, const struct vmi_region *regions, size_t n, vmi_read_fn read,
		 void *arg)
{
	struct vmi_mem *m;
	int err;

	*out = NULL;
	if (n > REGIONS_MAX)
		return -EINVAL;
	err = catch_sigbus();
	if (err)
		return err;
	m = calloc(1, sizeof(*m));
	if (!m)
		return -ENOMEM;
	m->regions = calloc(n ? n : 1, sizeof(*m->regions));
	m->maps = calloc(n ? n : 1, sizeof(*m->maps));
	err = -ENOMEM;
	if (!m->regions || !m->maps)
		goto fail;
	m->n = n;
	m->read = read;
	m->arg = arg;
	if (n)
		memcpy(m->regions, regions, n * sizeof(*regions));
	qsort(m->regions, n, sizeof(*m->regions), by_gpa);
	err = check(m->regions, n, read);
	for (size_t i = 0; i < n && !err; i++) {
		if (m->regions[i].backing == VMI_BACKING_MAP)
			err = map(&m->regions[i], &m->maps[i]);
	}
	if (err)
		goto fail;
	*out = m;
	return 0;
fail:
	vmi_mem_close(m);
	return err;
}

void vmi_mem_close(struct vmi_mem *m)
{
	if (!m)
		return;
	for (size_t i = 0; m->maps && i < m->n; i++)
		unmap(&m->maps[i]);
	free(m->maps);
	free(m->regions);
	free(m);
}

/* The region that holds `gpa`, or m->n. */
static size_t find(struct vmi_mem *m, uint64_t gpa)
{
	size_t lo = 0, hi = m->n;

	if (m->last < m->n && gpa - m->regions[m->last].gpa < m->regions[m->last].bytes)
		return m->last;
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (gpa < m->regions[mid].gpa)
			hi = mid;
		else if (gpa - m->regions[mid].gpa >= m->regions[mid].bytes)
			lo = mid + 1;
		else
			return m->last = mid;
	}
	return m->n;
}

/* All of the pages that hold [at, at + len) from the mapping's base. */
static bool all_present(const struct mapping *map, uint64_t at, size_t len)
{
	for (uint64_t i = at / PAGE; i <= (at + len - 1) / PAGE; i++) {
		if (!bit(map->present, i))
			return false;
	}
	return true;
}

/* Asks the file where it has data, from a chunk on to the end of the extent that it ends in. */
static void look(struct mapping *map, int fd, uint64_t chunk)
{
	uint64_t at = chunk * CHUNK, stop = at + CHUNK;

	set_bits(map->looked, chunk, 1);
	for (int i = 0; i < EXTENTS_MAX && map->seeks && at < stop && at < map->len; i++) {
		off_t data = lseek(fd, (off_t)(map->offset + at), SEEK_DATA);
		off_t hole = data < 0 ? data : lseek(fd, data, SEEK_HOLE);
		uint64_t first, end;

		if (hole <= data || (uint64_t)data < map->offset + at)
			return;
		/* whole pages only */
		first = ((uint64_t)data - map->offset + PAGE - 1) / PAGE;
		end = (uint64_t)hole - map->offset;
		if (first * PAGE >= map->len)
			return;
		if (end > map->len)
			end = map->len;
		if (end / PAGE > first)
			set_bits(map->present, first, end / PAGE - first);
		at = end;
	}
	for (chunk++; at > stop && (chunk + 1) * CHUNK <= at; chunk++)
		set_bits(map->looked, chunk, 1);
}

static bool is_zero(const char *buf, size_t len)
{
	return !len || (!buf[0] && !memcmp(buf, buf + 1, len - 1));
}

/* A page that may be a hole. One with anything in it is none, and so is its huge page. */
static int read_unsure(struct mapping *map, int fd, uint64_t at, char *buf, size_t len)
{
	int err = read_file(fd, map->offset + at, buf, len);

	if (err || is_zero(buf, len))
		return err;
	if (map->seeks)
		set_bits(map->present, at / PAGE, 1);
	else /* no huge page is smaller */
		set_bits(map->present, at / CHUNK * (CHUNK / PAGE), CHUNK / PAGE);
	return 0;
}

static int read_mapped(struct mapping *map, int fd, uint64_t at, char *buf, size_t len)
{
	at += map->at;
	if (at >= map->len || len > map->len - at)
		return -EIO;
	if (all_present(map, at, len))
		return copy(buf, map->base + at, len);
	while (len) {
		size_t n = PAGE - at % PAGE;
		int err;

		if (n > len)
			n = len;
		if (!bit(map->present, at / PAGE) && !bit(map->looked, at / CHUNK))
			look(map, fd, at / CHUNK);
		if (bit(map->present, at / PAGE))
			err = copy(buf, map->base + at, n);
		else
			err = read_unsure(map, fd, at, buf, n);
		if (err)
			return err;
		at += n;
		buf += n;
		len -= n;
	}
	return 0;
}

static int read_region(struct vmi_mem *m, size_t i, uint64_t gpa, void *buf, size_t len)
{
	const struct vmi_region *r = &m->regions[i];
	uint64_t at = gpa - r->gpa;

	switch (r->backing) {
	case VMI_BACKING_MAP:
		return read_mapped(&m->maps[i], r->fd, at, buf, len);
	case VMI_BACKING_PREAD:
		return read_file(r->fd, r->offset + at, buf, len);
	case VMI_BACKING_CALL:
		return m->read(m->arg, gpa, buf, len) ? -EIO : 0;
	}
	return -EIO;
}

int vmi_mem_read(struct vmi_mem *m, uint64_t gpa, void *buf, size_t len)
{
	size_t done = 0;
	int err = 0;

	if (len > GPA_MAX || gpa > GPA_MAX - len)
		err = -EFAULT;
	while (done < len && !err) {
		size_t i = find(m, gpa + done), n = len - done;
		uint64_t left;

		if (i == m->n) {
			err = -EFAULT;
			break;
		}
		left = m->regions[i].bytes - (gpa + done - m->regions[i].gpa);
		if (n > left)
			n = (size_t)left;
		err = read_region(m, i, gpa + done, (char *)buf + done, n);
		done += n;
	}
	if (err)
		memset(buf, 0, len);
	return err;
}

uint64_t vmi_mem_bytes(const struct vmi_mem *m)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < m->n; i++)
		sum += m->regions[i].bytes;
	return sum;
}

const struct vmi_region *vmi_mem_regions(const struct vmi_mem *m, size_t *n)
{
	*n = m->n;
	return m->regions;
}
