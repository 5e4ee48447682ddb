/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the VT-d specification says that a request does, in legacy mode: slow,
 * without memory of its own, and with nothing of the module in it.
 */
#ifndef _KVIOMMU_REFERENCE_H
#define _KVIOMMU_REFERENCE_H

#include <stdbool.h>
#include <stdint.h>

/**
 * struct ref_unit - The state of a unit that translation depends on
 * @rtaddr: RTADDR as the last SRTP latched it
 * @te: Translation is enabled
 * @boot_identity: Without translation requests reach memory
 * @mgaw: Width of I/O virtual addresses
 * @max_levels: Levels of tables supported
 */
struct ref_unit {
	uint64_t rtaddr;
	bool te;
	bool boot_identity;
	unsigned int mgaw;
	unsigned int max_levels;
};

enum ref_type {
	REF_BLOCKED,
	REF_IDENTITY,
	REF_TABLES,
};

/**
 * struct ref_context - What a requester's requests go through
 * @type: One of &enum ref_type
 * @did: Domain-id
 * @levels: Levels of the tables
 * @slptptr: Their root
 */
struct ref_context {
	enum ref_type type;
	unsigned int did;
	unsigned int levels;
	uint64_t slptptr;
};

/**
 * struct ref_leaf - A leaf entry
 * @iova: First I/O virtual address that it translates
 * @size: How many bytes
 * @gpa: Guest physical address that it gives
 * @read: Reads are allowed, with the entries above taken into account
 * @write: Writes are
 */
struct ref_leaf {
	uint64_t iova;
	uint64_t size;
	uint64_t gpa;
	bool read;
	bool write;
};

struct ref_context ref_context(const struct ref_unit *unit, uint16_t sid);
bool ref_walk(const struct ref_unit *unit, const struct ref_context *ctx,
	      uint64_t iova, struct ref_leaf *leaf);

/* Calls @fn for each leaf, until it returns false or there are too many. */
void ref_leaves(const struct ref_unit *unit, const struct ref_context *ctx,
		bool (*fn)(const struct ref_leaf *leaf, void *data),
		void *data);

/* Whether the queue goes on after a descriptor; of a wait, but for its status. */
bool ref_descriptor_valid(uint64_t lo, uint64_t hi);

/* Guest memory as the unit may read it; made by the test. */
bool ref_read64(uint64_t gpa, uint64_t *val);

#endif /* _KVIOMMU_REFERENCE_H */
