/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the processor defines: the in-memory structures of user interrupts, the
 * MSRs and the numbers in them.  Source: Intel SDM vol. 3, chapter "User
 * Interrupts", sections "User-Interrupt State", "User-Interrupt MSRs",
 * "User-Interrupt Posted Descriptor" and "SENDUIPI" (vol. 2).
 */
#ifndef RING3_KMOD_ARCH_H
#define RING3_KMOD_ARCH_H

#include <linux/bits.h>
#include <linux/types.h>

#define R3_CPUID_LEAF		7
#define R3_CPUID_EDX_UINTR	BIT(5)
#define R3_CR4_UINTR		BIT_ULL(25)

/* The six MSRs are consecutive; an enum r3_reg is the offset from the first. */
#define R3_MSR_FIRST		0x985

enum r3_reg {
	R3_RR,			/* UIRR: one bit per pending user vector */
	R3_HANDLER,		/* UIHANDLER */
	R3_STACKADJUST,		/* distance, or address if bit 0 is set */
	R3_MISC,		/* 31:0 UITTSZ, 39:32 UINV */
	R3_PD,			/* UPIDADDR */
	R3_TT,			/* UITTADDR, bit 0 = SENDUIPI enabled */
	R3_NR_REGS
};

#define R3_STACKADJUST_REDZONE	128	/* System V ABI, "The Stack Frame" */
#define R3_STACKADJUST_ABSOLUTE	BIT_ULL(0)
#define R3_MISC_UINV_SHIFT	32
#define R3_TT_ENABLE		BIT_ULL(0)

#define R3_NR_VECTORS		64

/*
 * User posted-interrupt descriptor.  SENDUIPI and notification processing
 * access the 16 bytes as one locked unit; software keeps to these rules:
 * status bits change by locked operations only, NV and NDST by one store each
 * and only while SN is set.
 */
struct r3_upid {
	u8	status;
	u8	reserved_1;
	u8	nv;
	u8	reserved_3;
	u32	ndst;
	u64	pir;
} __aligned(16);

#define R3_UPID_ON		0	/* bit numbers in status */
#define R3_UPID_SN		1

/* User-interrupt target table entry: what one SENDUIPI index stands for. */
struct r3_uitte {
	u64	word;			/* 0 V, 15:8 user vector, rest zero */
	u64	upid;			/* linear address */
};

#define R3_UITTE_VALID		BIT_ULL(0)
#define R3_UITTE_VECTOR_SHIFT	8
#define R3_UITT_ENTRIES		256	/* one page */

#endif
