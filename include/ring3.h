/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * ring3.h - marks the part of a program that is to be measured.
 *
 *	ring3_roi_begin();
 *	... the region of interest ...
 *	ring3_roi_end();
 *
 * A mark is one instruction, NOPL with a 32-bit displacement that names it:
 *
 *	0f 1f 84 00 01 00 33 52		nopl 0x52330001(%rax,%rax,1)	begin
 *	0f 1f 84 00 02 00 33 52		nopl 0x52330002(%rax,%rax,1)	end
 *
 * Real processors, and emulators that do not look for it, do nothing at all
 * (NOPL computes no address).  The compiler moves no memory access across.
 */
#ifndef RING3_H
#define RING3_H

#define RING3_MARK_ROI_BEGIN	0x52330001
#define RING3_MARK_ROI_END	0x52330002

static inline void ring3_roi_begin(void)
{
	__asm__ volatile(".byte 0x0f, 0x1f, 0x84, 0x00\n\t.long %c0"
			 : : "i" (RING3_MARK_ROI_BEGIN) : "memory");
}

static inline void ring3_roi_end(void)
{
	__asm__ volatile(".byte 0x0f, 0x1f, 0x84, 0x00\n\t.long %c0"
			 : : "i" (RING3_MARK_ROI_END) : "memory");
}

#endif
