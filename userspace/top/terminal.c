// SPDX-License-Identifier: GPL-2.0-or-later
#include "terminal.h"

#include <errno.h>
#include <langinfo.h>
#include <locale.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <term.h>
#include <termios.h>
#include <unistd.h>

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

/* SIGTSTP stays with ncurses, which leaves the screen and comes back to it. */
static const int asked_signals[] = { SIGINT, SIGTERM, SIGHUP, SIGWINCH, SIGTSTP };
static const int fatal_signals[] = { SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL, SIGQUIT };

/* Signal handlers reach nothing but statics: this is all that they need. */
static volatile sig_atomic_t asked_to_end;
static volatile sig_atomic_t resized;
static struct {
	char text[256];
	size_t len;
	struct termios termios;
} restore;

static struct sigaction old_asked[ARRAY_SIZE(asked_signals)];
static struct sigaction old_fatal[ARRAY_SIZE(fatal_signals)];
static stack_t old_stack;
static char fatal_stack[64 * 1024];

/* ------------------------------------------------------------------------------------ signals */

static void on_asked(int sig)
{
	if (sig == SIGWINCH)
		resized = 1;
	else
		asked_to_end = sig;
}

/* Only async-signal-safe calls. SA_RESETHAND: the signal raised again kills as if never caught. */
static void on_fatal(int sig)
{
	ssize_t ignored = write(STDOUT_FILENO, restore.text, restore.len);

	(void)ignored;
	tcsetattr(STDIN_FILENO, TCSANOW, &restore.termios);
	raise(sig);
}

/* terminfo strings may hold delays ("$<5>") that only tputs() understands. */
static void restore_add(const char *s)
{
	if (!s || s == (const char *)-1)
		return;
	while (*s && restore.len < sizeof(restore.text)) {
		const char *end = s[0] == '$' && s[1] == '<' ? strchr(s, '>') : NULL;

		if (end)
			s = end + 1;
		else
			restore.text[restore.len++] = *s++;
	}
}

static void restore_prepare(void)
{
	const char *leave = tigetstr("rmcup");

	restore.len = 0;
	if (tigetstr("kmous") && tigetstr("kmous") != (char *)-1)
		restore_add("\033[?1000l\033[?1002l\033[?1003l\033[?1006l");
	restore_add(tigetstr("sgr0"));
	restore_add(tigetstr("op"));
	restore_add(tigetstr("rmkx"));
	restore_add(tigetstr("cnorm"));
	restore_add(leave && leave != (char *)-1 ? leave : "\r\n");
}

static void signals_catch(struct terminal *t)
{
	stack_t stack = { .ss_sp = fatal_stack, .ss_size = sizeof(fatal_stack) };
	struct sigaction asked = { .sa_handler = on_asked };
	struct sigaction fatal = { .sa_handler = on_fatal,
				   .sa_flags = SA_ONSTACK | (int)SA_RESETHAND };
	sigset_t block;
	size_t i;

	asked_to_end = 0;
	resized = 0;
	sigaltstack(&stack, &old_stack);
	sigemptyset(&block);
	for (i = 0; i < ARRAY_SIZE(asked_signals); i++) {
		sigaddset(&block, asked_signals[i]);
		/* What nohup or a shell told us to ignore stays ignored. */
		if (asked_signals[i] != SIGTSTP && old_asked[i].sa_handler != SIG_IGN)
			sigaction(asked_signals[i], &asked, NULL);
	}
	for (i = 0; i < ARRAY_SIZE(fatal_signals); i++)
		sigaction(fatal_signals[i], &fatal, NULL);
	/* Outside the wait they are held back, so none slips in between a check and the wait. */
	sigprocmask(SIG_BLOCK, &block, &t->old_mask);
	t->wait_mask = t->old_mask;
	for (i = 0; i < ARRAY_SIZE(asked_signals); i++)
		sigdelset(&t->wait_mask, asked_signals[i]);
}

static void signals_save(void)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(asked_signals); i++)
		sigaction(asked_signals[i], NULL, &old_asked[i]);
	for (i = 0; i < ARRAY_SIZE(fatal_signals); i++)
		sigaction(fatal_signals[i], NULL, &old_fatal[i]);
}

static void signals_release(const struct terminal *t)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(asked_signals); i++)
		sigaction(asked_signals[i], &old_asked[i], NULL);
	for (i = 0; i < ARRAY_SIZE(fatal_signals); i++)
		sigaction(fatal_signals[i], &old_fatal[i], NULL);
	sigaltstack(&old_stack, NULL);
	sigprocmask(SIG_SETMASK, &t->old_mask, NULL);
}

int term_signal(void)
{
	return asked_to_end;
}

/* ------------------------------------------------------------------------------------- themes */

/* Colours for 256- and 8-colour terminals; -1 is the terminal's own. */
struct look {
	short fg256, fg8, bg;
	attr_t attr;
};

/* It would take the designators for arguments. */
/* clang-format off */
#define BILL_LOOKS(bg, guest, kvm, both, qemu, poll, halted, blocked, runnable, preempted, \
		   stopped, rest) \
	[ST_BILL + IHO_BILL_GUEST] = { guest, COLOR_GREEN, bg, 0 }, \
	[ST_BILL + IHO_BILL_KVM] = { kvm, COLOR_RED, bg, 0 }, \
	[ST_BILL + IHO_BILL_GUEST_OR_KVM] = { both, COLOR_CYAN, bg, 0 }, \
	[ST_BILL + IHO_BILL_QEMU] = { qemu, COLOR_BLUE, bg, 0 }, \
	[ST_BILL + IHO_BILL_HALT_POLL] = { poll, COLOR_YELLOW, bg, 0 }, \
	[ST_BILL + IHO_BILL_HALTED] = { halted, -1, bg, 0 }, \
	[ST_BILL + IHO_BILL_BLOCKED] = { blocked, COLOR_MAGENTA, bg, 0 }, \
	[ST_BILL + IHO_BILL_RUNNABLE] = { runnable, COLOR_YELLOW, bg, 0 }, \
	[ST_BILL + IHO_BILL_PREEMPTED] = { preempted, COLOR_MAGENTA, bg, 0 }, \
	[ST_BILL + IHO_BILL_STOPPED] = { stopped, COLOR_RED, bg, 0 }, \
	[ST_BILL + IHO_BILL_UNACCOUNTED] = { rest, -1, bg, 0 }
/* clang-format on */

static const struct look default_looks[ST_MAX] = {
	[ST_TEXT] = { -1, -1, -1, 0 },
	[ST_DIM] = { 245, -1, -1, 0 },
	[ST_TITLE] = { 39, COLOR_CYAN, -1, A_BOLD },
	[ST_TAB] = { -1, -1, -1, 0 },
	[ST_TAB_ON] = { 16, COLOR_BLACK, COLOR_CYAN, 0 },
	[ST_HEADER] = { 16, COLOR_BLACK, COLOR_GREEN, 0 },
	[ST_HEADER_SORT] = { 16, COLOR_BLACK, COLOR_CYAN, 0 },
	[ST_SECTION] = { 39, COLOR_CYAN, -1, A_BOLD },
	[ST_SELECTED] = { 16, COLOR_BLACK, COLOR_CYAN, 0 },
	[ST_TAGGED] = { 220, COLOR_YELLOW, -1, A_BOLD },
	[ST_WARN] = { 220, COLOR_YELLOW, -1, 0 },
	[ST_BAD] = { 196, COLOR_RED, -1, A_BOLD },
	[ST_KEY] = { -1, -1, -1, 0 },
	[ST_KEY_TEXT] = { 16, COLOR_BLACK, COLOR_CYAN, 0 },
	[ST_SPARK] = { 78, COLOR_GREEN, -1, 0 },
	BILL_LOOKS(-1, 34, 160, 37, 33, 178, 242, 133, 208, 201, 94, 245),
};

static const struct look light_looks[ST_MAX] = {
	[ST_TEXT] = { 16, COLOR_BLACK, -1, 0 },
	[ST_DIM] = { 241, COLOR_BLACK, -1, 0 },
	[ST_TITLE] = { 25, COLOR_BLUE, -1, A_BOLD },
	[ST_TAB] = { 16, COLOR_BLACK, -1, 0 },
	[ST_TAB_ON] = { 231, COLOR_WHITE, COLOR_BLUE, 0 },
	[ST_HEADER] = { 231, COLOR_WHITE, COLOR_BLUE, 0 },
	[ST_HEADER_SORT] = { 231, COLOR_WHITE, COLOR_RED, 0 },
	[ST_SECTION] = { 25, COLOR_BLUE, -1, A_BOLD },
	[ST_SELECTED] = { 231, COLOR_WHITE, COLOR_BLUE, 0 },
	[ST_TAGGED] = { 90, COLOR_MAGENTA, -1, A_BOLD },
	[ST_WARN] = { 130, COLOR_MAGENTA, -1, 0 },
	[ST_BAD] = { 160, COLOR_RED, -1, A_BOLD },
	[ST_KEY] = { 16, COLOR_BLACK, -1, 0 },
	[ST_KEY_TEXT] = { 231, COLOR_WHITE, COLOR_BLUE, 0 },
	[ST_SPARK] = { 28, COLOR_GREEN, -1, 0 },
	BILL_LOOKS(-1, 28, 124, 30, 25, 136, 246, 90, 166, 162, 94, 240),
};

static const struct look contrast_looks[ST_MAX] = {
	[ST_TEXT] = { 231, COLOR_WHITE, COLOR_BLACK, A_BOLD },
	[ST_DIM] = { 252, COLOR_WHITE, COLOR_BLACK, 0 },
	[ST_TITLE] = { 226, COLOR_YELLOW, COLOR_BLACK, A_BOLD },
	[ST_TAB] = { 231, COLOR_WHITE, COLOR_BLACK, A_BOLD },
	[ST_TAB_ON] = { 16, COLOR_BLACK, COLOR_YELLOW, 0 },
	[ST_HEADER] = { 16, COLOR_BLACK, COLOR_WHITE, 0 },
	[ST_HEADER_SORT] = { 16, COLOR_BLACK, COLOR_YELLOW, 0 },
	[ST_SECTION] = { 226, COLOR_YELLOW, COLOR_BLACK, A_BOLD },
	[ST_SELECTED] = { 16, COLOR_BLACK, COLOR_YELLOW, 0 },
	[ST_TAGGED] = { 51, COLOR_CYAN, COLOR_BLACK, A_BOLD | A_UNDERLINE },
	[ST_WARN] = { 226, COLOR_YELLOW, COLOR_BLACK, A_BOLD },
	[ST_BAD] = { 231, COLOR_WHITE, COLOR_RED, A_BOLD },
	[ST_KEY] = { 231, COLOR_WHITE, COLOR_BLACK, A_BOLD },
	[ST_KEY_TEXT] = { 16, COLOR_BLACK, COLOR_WHITE, 0 },
	[ST_SPARK] = { 46, COLOR_GREEN, COLOR_BLACK, A_BOLD },
	BILL_LOOKS(COLOR_BLACK, 46, 196, 51, 75, 226, 250, 207, 214, 201, 209, 255),
};

/* Without colours only these attributes are left; the bill's states are told apart by letters. */
static const attr_t mono_attr[ST_MAX] = {
	[ST_TITLE] = A_BOLD,	 [ST_TAB_ON] = A_REVERSE,
	[ST_HEADER] = A_REVERSE, [ST_HEADER_SORT] = A_REVERSE | A_BOLD,
	[ST_SECTION] = A_BOLD,	 [ST_SELECTED] = A_REVERSE,
	[ST_TAGGED] = A_BOLD,	 [ST_BAD] = A_BOLD,
	[ST_KEY] = A_BOLD,	 [ST_KEY_TEXT] = A_REVERSE,
};

void term_theme(struct terminal *t, enum iho_theme theme)
{
	const struct look *looks = theme == IHO_THEME_LIGHT	      ? light_looks
				   : theme == IHO_THEME_HIGH_CONTRAST ? contrast_looks
								      : default_looks;
	int i;

	t->colours = t->has_colours && theme != IHO_THEME_MONO;
	memcpy(t->attr, mono_attr, sizeof(mono_attr));
	for (i = 0; t->colours && i < ST_MAX; i++) {
		const struct look *l = &looks[i];

		init_pair((short)(i + 1), COLORS >= 256 ? l->fg256 : l->fg8, l->bg);
		t->attr[i] = COLOR_PAIR(i + 1) | l->attr;
	}
	bkgdset(' ' | t->attr[ST_TEXT]);
	clearok(curscr, TRUE);
}

/* ----------------------------------------------------------------------------- open and close */

/*
 * Presses only: who asks ncurses for clicks gets no more than the release of one that a key follows
 * at once.
 */
void term_mouse(bool on)
{
	mousemask(on ? BUTTON1_PRESSED | BUTTON4_PRESSED | BUTTON5_PRESSED : 0, NULL);
}

static int refuse(struct iho_error *err, int rc, const char *text)
{
	snprintf(err->text, sizeof(err->text), "%s", text);
	return rc;
}

static void colours_start(struct terminal *t)
{
	const char *no_color = getenv("NO_COLOR");

	/* no-color.org: set and not empty */
	if ((no_color && no_color[0]) || !has_colors() || start_color() == ERR || COLORS < 8 ||
	    COLOR_PAIRS <= ST_MAX)
		return;
	use_default_colors();
	t->has_colours = true;
}

/* Asked before newterm(), which leaks where it fails. */
static int check_terminfo(struct iho_error *err)
{
	const char *cup;
	int found;

	if (setupterm(NULL, STDOUT_FILENO, &found) != OK)
		return refuse(err, -EINVAL, "TERM names no terminal that terminfo knows");
	cup = tigetstr("cup");
	del_curterm(cur_term);
	if (!cup || cup == (const char *)-1)
		return refuse(err, -EINVAL,
			      "this terminal (TERM) cannot move its cursor; -b works on it");
	return 0;
}

int term_open(struct terminal *t, struct iho_error *err)
{
	int rc;

	memset(t, 0, sizeof(*t));
	if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO) ||
	    tcgetattr(STDIN_FILENO, &restore.termios))
		return refuse(err, -ENOTTY, "the screen needs a terminal; -b works without one");
	setlocale(LC_CTYPE, "");
	t->utf8 = !strcmp(nl_langinfo(CODESET), "UTF-8");
	t->ascii = !t->utf8;
	rc = check_terminfo(err);
	if (rc)
		return rc;
	signals_save();
	t->screen = newterm(NULL, stdout, stdin);
	if (!t->screen)
		return refuse(err, -EIO, "this terminal cannot be used");
	restore_prepare();
	signals_catch(t);
	cbreak();
	noecho();
	nonl();
	keypad(stdscr, TRUE);
	nodelay(stdscr, TRUE);
	typeahead(-1);
	set_escdelay(25);
	mouseinterval(0);
	curs_set(0);
	colours_start(t);
	term_theme(t, IHO_THEME_DEFAULT);
	return 0;
}

void term_close(struct terminal *t)
{
	term_mouse(false);
	move(LINES - 1, 0); /* the prompt comes here where there is no screen to go back to */
	clrtoeol();
	refresh();
	endwin();
	delscreen(t->screen);
	signals_release(t);
}

/* ------------------------------------------------------------------------------------ waiting */

void term_fit(void)
{
	struct winsize ws;

	if (!ioctl(STDOUT_FILENO, TIOCGWINSZ, &ws) && ws.ws_row && ws.ws_col)
		resize_term(ws.ws_row, ws.ws_col);
	clearok(curscr, TRUE);
}

/* A ppoll() that finds input at once lets no signal in, so a flood of input could hold them off. */
static void let_signals_in(const struct terminal *t)
{
	sigset_t blocked;

	sigprocmask(SIG_SETMASK, &t->wait_mask, &blocked);
	sigprocmask(SIG_SETMASK, &blocked, NULL);
}

static int signal_events(void)
{
	int events = asked_to_end ? TERM_SIGNAL : 0;

	if (resized)
		events |= TERM_RESIZE;
	resized = 0;
	return events;
}

/* A terminal that hung up is "readable" for ever, with nothing in it. */
static int input_events(short revents)
{
	int bytes = 0;

	if (revents & (POLLHUP | POLLERR | POLLNVAL))
		return TERM_GONE;
	if (!(revents & POLLIN))
		return 0;
	return ioctl(STDIN_FILENO, FIONREAD, &bytes) || !bytes ? TERM_GONE : TERM_INPUT;
}

int term_wait(struct terminal *t, double seconds)
{
	struct pollfd in = { .fd = STDIN_FILENO, .events = POLLIN };
	struct timespec ts = { .tv_sec = (time_t)seconds,
			       .tv_nsec = (long)((seconds - (double)(time_t)seconds) * 1e9) };
	int n = ppoll(&in, 1, seconds < 0 ? NULL : &ts, &t->wait_mask);
	int events;

	if (n > 0)
		let_signals_in(t);
	events = signal_events();
	if (n < 0)
		return events ? events : errno == EINTR ? TERM_WOKEN : TERM_GONE;
	return events | (n ? input_events(in.revents) : 0);
}
