// SPDX-License-Identifier: GPL-2.0-or-later
#include "auth.h"

#include <crypt.h>
#include <errno.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/eventfd.h>
#include <time.h>

#include "error.h"

#define KNOWN 64
#define MAC   32 /* HMAC-SHA256 */
#define STACK 131072

/* A user that is not there costs as much as a wrong password: the answer's time tells nothing. */
#define NOBODY "$2b$10$abcdefghijklmnopqrstuuC1N0SpDeHu6ZtT4xQy9f8o7m6l5k4j3"

struct job {
	void *who;
	char text[IHO_AUTH_BYTES]; /* "user" NUL "password" NUL */
	const char *password; /* in text */
	char hash[64];
	bool nobody;
	enum iho_auth_verdict verdict;
	unsigned int generation;
};

struct iho_auth {
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t work;
	bool stop;
	int fd;
	struct iho_web_user *users;
	size_t n_users;
	unsigned int generation; /* of the users */
	struct job ring[IHO_AUTH_QUEUE];
	unsigned int asked, judged, told; /* counts; indices modulo the ring's size */
	unsigned char key[MAC];
	unsigned char known[KNOWN][MAC];
	unsigned int n_known, next_known;
	double tokens;
	struct timespec filled;
};

int iho_auth_parse(const char *header, char *buf, const char **user, const char **password)
{
	gnutls_datum_t in, out;
	int r = -EINVAL;
	char *colon;

	if (strncasecmp(header, "Basic ", 6))
		return -EINVAL;
	header += 6 + strspn(header + 6, " ");
	in = (gnutls_datum_t){ (unsigned char *)header, strlen(header) };
	if (!in.size || in.size > (IHO_AUTH_BYTES - 1) * 4 / 3 + 4 ||
	    gnutls_base64_decode2(&in, &out))
		return -EINVAL;
	if (out.size >= IHO_AUTH_BYTES || memchr(out.data, '\0', out.size))
		goto cleanup;
	memcpy(buf, out.data, out.size);
	buf[out.size] = '\0';
	colon = strchr(buf, ':');
	if (!colon)
		goto cleanup;
	*colon = '\0';
	*user = buf;
	*password = colon + 1;
	r = 0;
cleanup:
	explicit_bzero(out.data, out.size);
	gnutls_free(out.data);
	return r;
}

/* With the stored hash in it, so that a new password makes the old one unknown. */
static bool mac(const struct iho_auth *a, const struct job *j, unsigned char out[MAC])
{
	char text[IHO_AUTH_BYTES + sizeof(j->hash)];
	size_t n = j->password - j->text + strlen(j->password) + 1;
	int r;

	memcpy(text, j->text, n);
	strcpy(text + n, j->hash);
	r = gnutls_hmac_fast(GNUTLS_MAC_SHA256, a->key, sizeof(a->key), text, n + strlen(j->hash),
			     out);
	explicit_bzero(text, sizeof(text));
	return !r;
}

static bool is_known(const struct iho_auth *a, const struct job *j)
{
	unsigned char m[MAC];
	bool found = false;

	if (j->nobody || !mac(a, j, m))
		return false;
	for (unsigned int i = 0; i < a->n_known; i++)
		found |= !gnutls_memcmp(a->known[i], m, MAC);
	return found;
}

static void learn(struct iho_auth *a, const struct job *j)
{
	if (!mac(a, j, a->known[a->next_known]))
		return;
	a->next_known = (a->next_known + 1) % KNOWN;
	if (a->n_known < KNOWN)
		a->n_known++;
}

static void tell(struct iho_auth *a)
{
	eventfd_write(a->fd, 1);
}

static void *judge(void *arg)
{
	struct crypt_data *data = malloc(sizeof(*data));
	struct iho_auth *a = arg;

	pthread_mutex_lock(&a->lock);
	while (!a->stop) {
		struct job *j = &a->ring[a->judged % IHO_AUTH_QUEUE];
		const char *hash = NULL;

		if (a->judged == a->asked) {
			pthread_cond_wait(&a->work, &a->lock);
			continue;
		}
		pthread_mutex_unlock(&a->lock);
		if (data) {
			memset(data, 0, sizeof(*data));
			hash = crypt_r(j->password, j->hash, data);
		}
		pthread_mutex_lock(&a->lock);
		j->verdict = IHO_AUTH_BAD;
		if (hash && !j->nobody && strlen(hash) == strlen(j->hash) &&
		    !gnutls_memcmp(hash, j->hash, strlen(hash)) && j->generation == a->generation) {
			j->verdict = IHO_AUTH_GOOD;
			learn(a, j);
		}
		explicit_bzero(j->text, sizeof(j->text));
		a->judged++;
		tell(a);
	}
	pthread_mutex_unlock(&a->lock);
	if (data)
		explicit_bzero(data, sizeof(*data));
	free(data);
	return NULL;
}

int iho_auth_new(struct iho_auth **out, int fd, struct iho_error *err)
{
	struct iho_auth *a = calloc(1, sizeof(*a));
	pthread_attr_t attr;
	int r;

	if (!a)
		return iho_fail(err, -ENOMEM, "out of memory");
	a->fd = fd;
	if (gnutls_rnd(GNUTLS_RND_KEY, a->key, sizeof(a->key))) {
		free(a);
		return iho_fail(err, -EIO, "no random numbers from GnuTLS");
	}
	a->tokens = IHO_AUTH_RATE;
	clock_gettime(CLOCK_MONOTONIC, &a->filled);
	pthread_mutex_init(&a->lock, NULL);
	pthread_cond_init(&a->work, NULL);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK);
	r = -pthread_create(&a->thread, &attr, judge, a);
	pthread_attr_destroy(&attr);
	if (r) {
		free(a);
		return iho_fail(err, r, "cannot start a thread: %s", strerror(-r));
	}
	*out = a;
	return 0;
}

static void free_users(struct iho_auth *a)
{
	struct iho_webconfig c = { .users = a->users, .n_users = a->n_users };

	iho_webconfig_free(&c);
}

void iho_auth_free(struct iho_auth *a)
{
	if (!a)
		return;
	pthread_mutex_lock(&a->lock);
	a->stop = true;
	pthread_cond_signal(&a->work);
	pthread_mutex_unlock(&a->lock);
	pthread_join(a->thread, NULL);
	free_users(a);
	explicit_bzero(a, sizeof(*a));
	free(a);
}

void iho_auth_users(struct iho_auth *a, struct iho_webconfig *c)
{
	pthread_mutex_lock(&a->lock);
	free_users(a);
	a->users = c->users;
	a->n_users = c->n_users;
	a->n_known = a->next_known = 0;
	a->generation++;
	pthread_mutex_unlock(&a->lock);
	c->users = NULL;
	c->n_users = 0;
}

static bool take_token(struct iho_auth *a)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	a->tokens += IHO_AUTH_RATE *
		     ((now.tv_sec - a->filled.tv_sec) + (now.tv_nsec - a->filled.tv_nsec) / 1e9);
	a->filled = now;
	if (a->tokens > IHO_AUTH_RATE)
		a->tokens = IHO_AUTH_RATE;
	if (a->tokens < 1)
		return false;
	a->tokens--;
	return true;
}

static const char *hash_of(const struct iho_auth *a, const char *user)
{
	for (size_t i = 0; i < a->n_users; i++)
		if (!strcmp(a->users[i].name, user))
			return a->users[i].hash;
	return NULL;
}

static enum iho_auth_verdict look(struct iho_auth *a, struct job *j)
{
	if (is_known(a, j))
		return IHO_AUTH_GOOD;
	if (a->asked - a->told >= IHO_AUTH_QUEUE || !take_token(a))
		return IHO_AUTH_LATER;
	a->ring[a->asked % IHO_AUTH_QUEUE] = *j;
	a->ring[a->asked % IHO_AUTH_QUEUE].password =
		a->ring[a->asked % IHO_AUTH_QUEUE].text + (j->password - j->text);
	a->asked++;
	pthread_cond_signal(&a->work);
	return IHO_AUTH_PENDING;
}

enum iho_auth_verdict iho_auth_check(struct iho_auth *a, const char *header, void *who)
{
	enum iho_auth_verdict v = IHO_AUTH_BAD;
	struct job j = { .who = who };
	const char *user, *hash;

	pthread_mutex_lock(&a->lock);
	if (!a->n_users) {
		v = IHO_AUTH_GOOD;
	} else if (header && !iho_auth_parse(header, j.text, &user, &j.password)) {
		hash = hash_of(a, user);
		j.nobody = !hash;
		j.generation = a->generation;
		snprintf(j.hash, sizeof(j.hash), "%s", hash ? hash : NOBODY);
		v = look(a, &j);
	}
	pthread_mutex_unlock(&a->lock);
	explicit_bzero(j.text, sizeof(j.text));
	return v;
}

bool iho_auth_done(struct iho_auth *a, void **who, enum iho_auth_verdict *verdict)
{
	bool there;

	pthread_mutex_lock(&a->lock);
	there = a->told != a->judged;
	if (there) {
		*who = a->ring[a->told % IHO_AUTH_QUEUE].who;
		*verdict = a->ring[a->told % IHO_AUTH_QUEUE].verdict;
		a->told++;
	}
	pthread_mutex_unlock(&a->lock);
	return there;
}
