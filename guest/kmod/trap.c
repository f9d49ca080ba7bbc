// SPDX-License-Identifier: GPL-2.0-only
/*
 * Invalid-opcode faults of the five instructions.  Two of them are ours to
 * repair, by retrying the instruction:
 *  - a thread's first use of any of them (CR4.UINTR is off until then);
 *  - a thread's first SENDUIPI in a process that has a target table.
 * Every other #UD stays the program's SIGILL.
 */
#include <linux/kdebug.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include <asm/insn.h>
#include <asm/ptrace.h>
#include <asm/trapnr.h>

#include "hw.h"

/*
 * Is this one of the five?  SDM vol. 2, their encodings: F3 0F 01 EC..EF, and
 * F3 0F C7 /6 with a register operand.  Instruction bytes are read without
 * faulting pages in; they were just fetched.
 */
static bool r3_decode(struct pt_regs *regs, struct r3_insn *insn)
{
	u8 rep = 0, rex = 0, byte, modrm;
	unsigned int i;

	for (i = 0; ; i++) {
		if (i + 3 > MAX_INSN_SIZE ||
		    copy_from_user_nofault(&byte, (void __user *)regs->ip + i, 1))
			return false;
		switch (byte) {
		case 0xf2: case 0xf3:
			rep = byte;
			fallthrough;
		case 0x26: case 0x2e: case 0x36: case 0x3e: case 0x64:
		case 0x65: case 0x66: case 0x67:
			rex = 0;	/* REX counts only right before the opcode */
			continue;
		case 0x40 ... 0x4f:
			rex = byte;
			continue;
		}
		break;
	}
	if (rep != 0xf3 || byte != 0x0f ||
	    copy_from_user_nofault(&byte, (void __user *)regs->ip + i + 1, 1) ||
	    copy_from_user_nofault(&modrm, (void __user *)regs->ip + i + 2, 1))
		return false;

	insn->len = i + 3;
	insn->operand = 0;
	if (byte == 0x01 && modrm >= 0xec && modrm <= 0xef) {
		insn->kind = R3_INSN_UIRET + (modrm - 0xec);
		return true;
	}
	if (byte == 0xc7 && (modrm & 0xf8) == 0xf0) {
		insn->kind = R3_INSN_SENDUIPI;
		insn->operand = (modrm & 7) | (rex & 1) << 3;
		return true;
	}
	return false;
}

static bool r3_give_uitt(struct r3_task *t)
{
	struct r3_uitt *u;

	if (t && t->uitt)
		return false;
	u = r3_uitt_find_current();
	if (!u)
		return false;
	t = r3_task_attach(GFP_ATOMIC | __GFP_NOWARN);
	if (IS_ERR(t)) {
		r3_uitt_put(u);
		return false;
	}
	r3_uitt_load(t, u);
	return true;
}

static int r3_die(struct notifier_block *nb, unsigned long event, void *data)
{
	struct die_args *args = data;
	struct r3_insn insn;
	struct r3_task *t;

	if (event != DIE_TRAP || args->trapnr != X86_TRAP_UD ||
	    !user_64bit_mode(args->regs) || !r3_decode(args->regs, &insn))
		return NOTIFY_DONE;

	t = r3_task_current();
#ifdef R3_TEST_NO_HW
	if (t && r3_nohw_execute(args->regs, &insn) == R3_NOHW_DONE)
		return NOTIFY_STOP;
#endif
	if (insn.kind == R3_INSN_SENDUIPI)
		return r3_give_uitt(t) ? NOTIFY_STOP : NOTIFY_DONE;
	if (t || IS_ERR(r3_task_attach(GFP_ATOMIC | __GFP_NOWARN)))
		return NOTIFY_DONE;
	return NOTIFY_STOP;
}

static struct notifier_block r3_die_nb = {
	.notifier_call = r3_die,
};

int r3_trap_init(void)
{
	return register_die_notifier(&r3_die_nb);
}

void r3_trap_exit(void)
{
	unregister_die_notifier(&r3_die_nb);
}
