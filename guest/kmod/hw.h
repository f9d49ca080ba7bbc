/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The only place where the module touches user-interrupt hardware.  With
 * R3_TEST_NO_HW the same functions are provided by nohw.c instead.
 *
 * A CPU has user interrupts switched on (CR4.UINTR) exactly while a thread with
 * an r3_task is current on it.  While off, the MSRs keep their values, no user
 * interrupt is identified or delivered, and the five instructions raise #UD.
 * All functions want interrupts off.
 */
#ifndef RING3_KMOD_HW_H
#define RING3_KMOD_HW_H

#include "kmod.h"

#ifdef R3_TEST_NO_HW

bool r3_hw_present(void);
void r3_hw_enable(void);
void r3_hw_disable(void);
u64 r3_hw_read(enum r3_reg reg);
void r3_hw_write(enum r3_reg reg, u64 val);
bool r3_hw_testui(void);
void r3_hw_set_uif(bool uif);
void r3_hw_notify_self(void);

enum r3_nohw_result { R3_NOHW_DONE, R3_NOHW_UD };
enum r3_nohw_result r3_nohw_execute(struct pt_regs *regs, const struct r3_insn *insn);
void r3_nohw_cpu_online(void);
void r3_nohw_cpu_offline(void);

#else

#include <asm/apic.h>
#include <asm/msr.h>
#include <asm/processor.h>
#include <asm/tlbflush.h>

static inline bool r3_hw_present(void)
{
	u32 eax, ebx, ecx, edx;

	if (cpuid_eax(0) < R3_CPUID_LEAF)
		return false;
	cpuid_count(R3_CPUID_LEAF, 0, &eax, &ebx, &ecx, &edx);
	return edx & R3_CPUID_EDX_UINTR;
}

static inline void r3_hw_enable(void)
{
	cr4_update_irqsoff(R3_CR4_UINTR, 0);
}

static inline void r3_hw_disable(void)
{
	cr4_update_irqsoff(0, R3_CR4_UINTR);
}

static inline u64 r3_hw_read(enum r3_reg reg)
{
	u64 val;

	rdmsrl(R3_MSR_FIRST + reg, val);
	return val;
}

static inline void r3_hw_write(enum r3_reg reg, u64 val)
{
	wrmsrl(R3_MSR_FIRST + reg, val);
}

/* Bytes, not mnemonics: the kernel's minimum binutils does not know these. */
static inline bool r3_hw_testui(void)
{
	bool uif;

	asm volatile(".byte 0xf3, 0x0f, 0x01, 0xed" : "=@ccc" (uif));
	return uif;
}

static inline void r3_hw_set_uif(bool uif)
{
	if (uif)
		asm volatile(".byte 0xf3, 0x0f, 0x01, 0xef" : : : "memory");
	else
		asm volatile(".byte 0xf3, 0x0f, 0x01, 0xee" : : : "memory");
}

static inline void r3_hw_notify_self(void)
{
	apic->send_IPI_self(R3_VECTOR_NOTIFY);
}

static inline void r3_nohw_cpu_online(void)
{
}

static inline void r3_nohw_cpu_offline(void)
{
}

#endif /* R3_TEST_NO_HW */

#endif
