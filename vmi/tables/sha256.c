/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <endian.h>
#include <stdio.h>
#include <string.h>

#include "sha256.h"

/* FIPS 180-4, 4.2.2 */
static const uint32_t k[64] = {
	0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4,
	0xab1c5ed5, 0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe,
	0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f,
	0x4a7484aa, 0x5cb0a9dc, 0x76f988da, 0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7,
	0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967, 0x27b70a85, 0x2e1b2138, 0x4d2c6dfc,
	0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85, 0xa2bfe8a1, 0xa81a664b,
	0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070, 0x19a4c116,
	0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
	0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7,
	0xc67178f2,
};

static uint32_t ror(uint32_t v, unsigned int n)
{
	return v >> n | v << (32 - n);
}

/* 6.2.2 */
static void block(struct vmi_sha256 *s, const uint8_t *p)
{
	uint32_t w[64], v[8];

	for (unsigned int t = 0; t < 16; t++) {
		memcpy(&w[t], p + 4 * t, 4);
		w[t] = be32toh(w[t]);
	}
	for (unsigned int t = 16; t < 64; t++) {
		uint32_t a = w[t - 15], b = w[t - 2];

		w[t] = (ror(b, 17) ^ ror(b, 19) ^ b >> 10) + w[t - 7] +
		       (ror(a, 7) ^ ror(a, 18) ^ a >> 3) + w[t - 16];
	}
	memcpy(v, s->state, sizeof(v));
	for (unsigned int t = 0; t < 64; t++) {
		uint32_t e = v[4], a = v[0];
		uint32_t t1 = v[7] + (ror(e, 6) ^ ror(e, 11) ^ ror(e, 25)) +
			      ((e & v[5]) ^ (~e & v[6])) + k[t] + w[t];
		uint32_t t2 = (ror(a, 2) ^ ror(a, 13) ^ ror(a, 22)) +
			      ((a & v[1]) ^ (a & v[2]) ^ (v[1] & v[2]));

		memmove(v + 1, v, 7 * sizeof(v[0]));
		v[4] += t1;
		v[0] = t1 + t2;
	}
	for (unsigned int i = 0; i < 8; i++)
		s->state[i] += v[i];
}

void vmi_sha256_start(struct vmi_sha256 *s)
{
	static const uint32_t first[8] = { 0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
					   0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19 };

	memcpy(s->state, first, sizeof(first));
	s->bytes = 0;
}

void vmi_sha256_add(struct vmi_sha256 *s, const void *data, size_t n)
{
	const uint8_t *p = data;
	size_t have = s->bytes & 63;

	s->bytes += n;
	if (have) {
		size_t more = 64 - have < n ? 64 - have : n;

		memcpy(s->block + have, p, more);
		p += more;
		n -= more;
		if (have + more < 64)
			return;
		block(s, s->block);
	}
	for (; n >= 64; p += 64, n -= 64)
		block(s, p);
	memcpy(s->block, p, n);
}

void vmi_sha256_text(struct vmi_sha256 *s, char text[VMI_SHA256_TEXT])
{
	static const uint8_t pad[64] = { 0x80 };
	uint64_t bits = htobe64(s->bytes * 8);
	size_t have = s->bytes & 63;

	vmi_sha256_add(s, pad, have < 56 ? 56 - have : 120 - have);
	vmi_sha256_add(s, &bits, sizeof(bits));
	for (unsigned int i = 0; i < 8; i++)
		sprintf(text + 8 * i, "%08x", s->state[i]);
}
