/* SPDX-License-Identifier: GPL-2.0-only */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM kviommu

#if !defined(_KVIOMMU_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define _KVIOMMU_TRACE_H

#include <linux/tracepoint.h>

#include "policy.h"

TRACE_EVENT(kviommu_reg_write,
	TP_PROTO(int unit, unsigned int offset, unsigned int len, u64 val),
	TP_ARGS(unit, offset, len, val),
	TP_STRUCT__entry(
		__field(int, unit)
		__field(unsigned int, offset)
		__field(unsigned int, len)
		__field(u64, val)
	),
	TP_fast_assign(
		__entry->unit = unit;
		__entry->offset = offset;
		__entry->len = len;
		__entry->val = val;
	),
	TP_printk("unit %d offset 0x%03x len %u val 0x%llx", __entry->unit,
		  __entry->offset, __entry->len, __entry->val)
);

TRACE_EVENT(kviommu_descriptor,
	TP_PROTO(int unit, u64 lo, u64 hi, int ret),
	TP_ARGS(unit, lo, hi, ret),
	TP_STRUCT__entry(
		__field(int, unit)
		__field(u64, lo)
		__field(u64, hi)
		__field(int, ret)
	),
	TP_fast_assign(
		__entry->unit = unit;
		__entry->lo = lo;
		__entry->hi = hi;
		__entry->ret = ret;
	),
	TP_printk("unit %d 0x%016llx:%016llx ret %d", __entry->unit,
		  __entry->hi, __entry->lo, __entry->ret)
);

TRACE_EVENT(kviommu_bind,
	TP_PROTO(int unit, u16 source_id, u32 pasid, int type, u16 did, u64 pgtbl,
		 int ret),
	TP_ARGS(unit, source_id, pasid, type, did, pgtbl, ret),
	TP_STRUCT__entry(
		__field(int, unit)
		__field(u16, source_id)
		__field(u32, pasid)
		__field(int, type)
		__field(u16, did)
		__field(u64, pgtbl)
		__field(int, ret)
	),
	TP_fast_assign(
		__entry->unit = unit;
		__entry->source_id = source_id;
		__entry->pasid = pasid;
		__entry->type = type;
		__entry->did = did;
		__entry->pgtbl = pgtbl;
		__entry->ret = ret;
	),
	TP_printk("unit %d source_id 0x%04x %s did %u pgtbl 0x%llx ret %d pasid %u",
		  __entry->unit, __entry->source_id,
		  __print_symbolic(__entry->type, { 0, "blocked" },
				   { 1, "identity" }, { 2, "domain" },
				   { 3, "nested" }, { 4, "tracked" }),
		  __entry->did, __entry->pgtbl, __entry->ret, __entry->pasid)
);

TRACE_EVENT(kviommu_map,
	TP_PROTO(int unit, u16 did, u64 iova, u64 gfn, u64 nr,
		 unsigned int prot),
	TP_ARGS(unit, did, iova, gfn, nr, prot),
	TP_STRUCT__entry(
		__field(int, unit)
		__field(u16, did)
		__field(u64, iova)
		__field(u64, gfn)
		__field(u64, nr)
		__field(unsigned int, prot)
	),
	TP_fast_assign(
		__entry->unit = unit;
		__entry->did = did;
		__entry->iova = iova;
		__entry->gfn = gfn;
		__entry->nr = nr;
		__entry->prot = prot;
	),
	TP_printk("unit %d did %u iova 0x%llx gfn 0x%llx pages %llu %s%s",
		  __entry->unit, __entry->did, __entry->iova, __entry->gfn,
		  __entry->nr, __entry->prot & 1 ? "r" : "-",
		  __entry->prot & 2 ? "w" : "-")
);

TRACE_EVENT(kviommu_unmap,
	TP_PROTO(int unit, u16 did, u64 iova, u64 size),
	TP_ARGS(unit, did, iova, size),
	TP_STRUCT__entry(
		__field(int, unit)
		__field(u16, did)
		__field(u64, iova)
		__field(u64, size)
	),
	TP_fast_assign(
		__entry->unit = unit;
		__entry->did = did;
		__entry->iova = iova;
		__entry->size = size;
	),
	TP_printk("unit %d did %u iova 0x%llx size 0x%llx", __entry->unit,
		  __entry->did, __entry->iova, __entry->size)
);

TRACE_EVENT(kviommu_pin,
	TP_PROTO(int unit, u64 gfn, u64 pfn),
	TP_ARGS(unit, gfn, pfn),
	TP_STRUCT__entry(
		__field(int, unit)
		__field(u64, gfn)
		__field(u64, pfn)
	),
	TP_fast_assign(
		__entry->unit = unit;
		__entry->gfn = gfn;
		__entry->pfn = pfn;
	),
	TP_printk("unit %d gfn 0x%llx pfn 0x%llx", __entry->unit, __entry->gfn,
		  __entry->pfn)
);

TRACE_EVENT(kviommu_unpin,
	TP_PROTO(int unit, u64 gfn),
	TP_ARGS(unit, gfn),
	TP_STRUCT__entry(
		__field(int, unit)
		__field(u64, gfn)
	),
	TP_fast_assign(
		__entry->unit = unit;
		__entry->gfn = gfn;
	),
	TP_printk("unit %d gfn 0x%llx", __entry->unit, __entry->gfn)
);

TRACE_EVENT(kviommu_stale,
	TP_PROTO(int unit, u16 did, u64 iova, bool keep),
	TP_ARGS(unit, did, iova, keep),
	TP_STRUCT__entry(
		__field(int, unit)
		__field(u16, did)
		__field(u64, iova)
		__field(bool, keep)
	),
	TP_fast_assign(
		__entry->unit = unit;
		__entry->did = did;
		__entry->iova = iova;
		__entry->keep = keep;
	),
	TP_printk("unit %d did %u iova 0x%llx %s", __entry->unit, __entry->did,
		  __entry->iova, __entry->keep ? "kept" : "reused")
);

/* The trace event's field, assignment, format and printed value of a policy member */
#define TRACE_POLICY_FIELD(name, ...)	__field(u64, name)
#define TRACE_POLICY_ASSIGN(name, ...)	__entry->name = policy->name;

#define TRACE_POLICY_FORMAT_ALLOWED	" %s"
#define TRACE_POLICY_FORMAT_CHOICE	" %s"
#define TRACE_POLICY_FORMAT_LIMIT	" %llu"
#define TRACE_POLICY_FORMAT_VALUE	" %llu"
#define TRACE_POLICY_FORMAT(name, bit, kind, ...)			\
	" " #name TRACE_POLICY_FORMAT_##kind

#define TRACE_POLICY_SYMBOL(value, number, name)	{ number, name }
#define TRACE_POLICY_PRINT_ALLOWED(name, choices)			\
	__print_symbolic(__entry->name, choices(TRACE_POLICY_SYMBOL))
#define TRACE_POLICY_PRINT_CHOICE(name, choices)			\
	__print_symbolic(__entry->name, choices(TRACE_POLICY_SYMBOL))
#define TRACE_POLICY_PRINT_LIMIT(name, most)	__entry->name
#define TRACE_POLICY_PRINT_VALUE(name, most)	__entry->name
#define TRACE_POLICY_PRINT(name, bit, kind, most, ...)			\
	, TRACE_POLICY_PRINT_##kind(name, most)

TRACE_EVENT(kviommu_policy,
	TP_PROTO(int unit, const struct kviommu_policy *policy),
	TP_ARGS(unit, policy),
	TP_STRUCT__entry(
		__field(int, unit)
		KVIOMMU_POLICY_MEMBERS(TRACE_POLICY_FIELD)
	),
	TP_fast_assign(
		__entry->unit = unit;
		KVIOMMU_POLICY_MEMBERS(TRACE_POLICY_ASSIGN)
	),
	TP_printk("unit %d" KVIOMMU_POLICY_MEMBERS(TRACE_POLICY_FORMAT),
		  __entry->unit KVIOMMU_POLICY_MEMBERS(TRACE_POLICY_PRINT))
);

TRACE_EVENT(kviommu_poll,
	TP_PROTO(int unit, bool on, int why, int err),
	TP_ARGS(unit, on, why, err),
	TP_STRUCT__entry(
		__field(int, unit)
		__field(bool, on)
		__field(int, why)
		__field(int, err)
	),
	TP_fast_assign(
		__entry->unit = unit;
		__entry->on = on;
		__entry->why = why;
		__entry->err = err;
	),
	TP_printk("unit %d %s, %s: error %d", __entry->unit,
		  __entry->on ? "polled" : "trapped",
		  __print_symbolic(__entry->why, { 0, "asked" }, { 1, "idle" },
				   { 2, "stopped" }, { 3, "status" },
				   { 4, "moved" }, { 5, "offline" },
				   { 6, "overcommitted" }, { 7, "suspended" },
				   { 8, "budget" }),
		  __entry->err)
);

TRACE_EVENT(kviommu_poll_cpu,
	TP_PROTO(int cpu, bool on),
	TP_ARGS(cpu, on),
	TP_STRUCT__entry(
		__field(int, cpu)
		__field(bool, on)
	),
	TP_fast_assign(
		__entry->cpu = cpu;
		__entry->on = on;
	),
	TP_printk("cpu %d thread %s", __entry->cpu,
		  __entry->on ? "unparked" : "parked")
);

TRACE_EVENT(kviommu_fault,
	TP_PROTO(int unit, u16 source_id, u32 pasid, u64 addr, u8 reason),
	TP_ARGS(unit, source_id, pasid, addr, reason),
	TP_STRUCT__entry(
		__field(int, unit)
		__field(u16, source_id)
		__field(u32, pasid)
		__field(u64, addr)
		__field(u8, reason)
	),
	TP_fast_assign(
		__entry->unit = unit;
		__entry->source_id = source_id;
		__entry->pasid = pasid;
		__entry->addr = addr;
		__entry->reason = reason;
	),
	TP_printk("unit %d source_id 0x%04x addr 0x%llx reason 0x%02x pasid %u",
		  __entry->unit, __entry->source_id, __entry->addr,
		  __entry->reason, __entry->pasid)
);

TRACE_EVENT(kviommu_error,
	TP_PROTO(int unit, const char *what, u64 addr, int err),
	TP_ARGS(unit, what, addr, err),
	TP_STRUCT__entry(
		__field(int, unit)
		__string(what, what)
		__field(u64, addr)
		__field(int, err)
	),
	TP_fast_assign(
		__entry->unit = unit;
		__assign_str(what);
		__entry->addr = addr;
		__entry->err = err;
	),
	TP_printk("unit %d %s 0x%llx: error %d", __entry->unit,
		  __get_str(what), __entry->addr, __entry->err)
);

#endif /* _KVIOMMU_TRACE_H */

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE trace

#include <trace/define_trace.h>
