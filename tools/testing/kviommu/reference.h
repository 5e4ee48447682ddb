/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a DMA request does in legacy mode according to the VT-d specification. Slow: it
 * caches nothing, and shares no code with the module.
 */
#ifndef _KVIOMMU_REFERENCE_H
#define _KVIOMMU_REFERENCE_H

#include <stdbool.h>
#include <stdint.h>

/**
 * struct ref_unit - The state of a unit that translation depends on
 * @rtaddr: RTADDR as the last SRTP latched it
 * @te: Translation is enabled
 * @boot_identity: While translation is disabled requests reach all memory, not none
 * @mgaw: Width of I/O virtual addresses in bits
 * @max_levels: Most levels of tables that are supported
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
 * @levels: Number of levels of the tables
 * @slptptr: Guest physical address of the root table
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
 * @size: Size in bytes
 * @gpa: First guest physical address
 * @read: This entry and all above it allow reads
 * @write: This entry and all above it allow writes
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

/*
 * Whether a descriptor is valid, so that the queue goes on after it. The address of a
 * wait descriptor's status is not checked.
 */
bool ref_descriptor_valid(uint64_t lo, uint64_t hi);

/* Read guest memory, as far as the unit may read it; defined by the test. */
bool ref_read64(uint64_t gpa, uint64_t *val);

#endif /* _KVIOMMU_REFERENCE_H */
