/* SPDX-License-Identifier: GPL-2.0-or-later */
/* For cppcheck, which reads no system headers: what assigns the variable of a loop. */
#define TAILQ_FOREACH(v, h, f) for ((v) = (h)->tqh_first; (v); (v) = (v)->f.tqe_next)
