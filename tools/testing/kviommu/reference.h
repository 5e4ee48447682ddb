/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a DMA request does according to the VT-d specification, in legacy mode and, with
 * first-stage translation and pass-through, with PASID or without, in scalable mode. Slow: it
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
 * @max_levels: Most levels of second-level tables that are supported
 * @pt: ECAP.PT
 * @sc: ECAP.SC
 * @scalable: ECAP.SMTS, with ECAP.FSTS
 * @smpwc: ECAP.SMPWCS
 * @fs_1g: First-stage tables may have leaves of 1 GiB, as CAP.FS1GP says.
 * @fs_5lp: CAP.FS5LP
 * @pasid_bits: ECAP.PSS + 1 if there is ECAP.PASID, else 0
 * @wide: IQA.DW as it was when the queue was turned on: descriptors have 256 bits
 */
struct ref_unit {
	uint64_t rtaddr;
	bool te;
	bool boot_identity;
	unsigned int mgaw;
	unsigned int max_levels;
	bool pt;
	bool sc;
	bool scalable;
	bool smpwc;
	bool fs_1g;
	bool fs_5lp;
	unsigned int pasid_bits;
	bool wide;
};

enum ref_type {
	REF_BLOCKED,
	REF_IDENTITY,
	REF_TABLES,
	REF_FIRST_STAGE,
};

/**
 * struct ref_context - What a requester's requests go through
 * @type: One of &enum ref_type
 * @did: Domain-id
 * @levels: Number of levels of the tables
 * @root: Guest physical address of the root table
 * @fault: The reason why requests are blocked, if the entries are wrong; else 0
 * @quiet: An entry that was read says not to report qualified faults
 */
struct ref_context {
	enum ref_type type;
	unsigned int did;
	unsigned int levels;
	uint64_t root;
	uint8_t fault;
	bool quiet;
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

/* @pasid: PASID of the requests; 0 are also those without */
struct ref_context ref_context(const struct ref_unit *unit, uint16_t sid, uint32_t pasid);
bool ref_walk(const struct ref_unit *unit, const struct ref_context *ctx,
	      uint64_t iova, struct ref_leaf *leaf);

/* Calls @fn for each leaf, until it returns false or there are too many. */
void ref_leaves(const struct ref_unit *unit, const struct ref_context *ctx,
		bool (*fn)(const struct ref_leaf *leaf, void *data),
		void *data);

/**
 * struct ref_descriptor - An invalidation descriptor
 * @word: Its bits 63:0, 127:64, 191:128 and 255:192; the latter two are 0 if it has 128 bits
 */
struct ref_descriptor {
	uint64_t word[4];
};

/* Whether the translation table mode of RTADDR is one that the unit has */
bool ref_mode_valid(const struct ref_unit *unit);

/*
 * Whether a descriptor is valid, so that the queue goes on after it. The address of a
 * wait descriptor's status is not checked.
 */
bool ref_descriptor_valid(const struct ref_unit *unit, const struct ref_descriptor *d);

/**
 * struct ref_inval - What a valid descriptor invalidates of first-stage translations
 * @all: Those of all domains
 * @did: Those of this domain, if not @all
 * @pasid: Those of requests with this PASID, 0 if they have none; negative: of all
 * @first: First address
 * @last: Last address, inclusive; less than @first if nothing has to be invalidated
 * @leaves: What is cached of entries that are not leaves may stay
 */
struct ref_inval {
	bool all;
	unsigned int did;
	int pasid;
	uint64_t first;
	uint64_t last;
	bool leaves;
};

struct ref_inval ref_inval(const struct ref_descriptor *d);

/* Sign-extended, as addresses of first-stage tables of 4 or 5 levels have to be */
uint64_t ref_canonical(uint64_t iova, unsigned int levels);

/* Read guest memory, as far as the unit may read it; defined by the test. */
bool ref_read64(uint64_t gpa, uint64_t *val);

/* Read a first-stage entry, as far as the hardware reaches guest memory; also by the test. */
bool ref_walk64(uint64_t gpa, uint64_t *val);

#endif /* _KVIOMMU_REFERENCE_H */
