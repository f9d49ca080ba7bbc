//! What the kernel does for the child: next to nothing.

/// From here on the process may read, write, return from signals and end; any other system call ends
/// it. Where the kernel has no seccomp, the sequences are still not given a way to call the kernel.
pub(super) fn enter() {
    const LOAD_WORD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    const JUMP_IF_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    const AUDIT_ARCH_X86_64: u32 = 0xc000_003e;
    const KILL: u32 = libc::SECCOMP_RET_KILL_PROCESS;
    let statement = |code, k| libc::sock_filter {
        code,
        jt: 0,
        jf: 0,
        k,
    };
    let equal = |k, jt, jf| libc::sock_filter {
        code: JUMP_IF_EQUAL,
        jt,
        jf,
        k,
    };
    // struct seccomp_data: the number at 0, the architecture at 4.
    let mut filter = [
        statement(LOAD_WORD, 4),
        equal(AUDIT_ARCH_X86_64, 0, 5),
        statement(LOAD_WORD, 0),
        equal(libc::SYS_read as u32, 4, 0),
        equal(libc::SYS_write as u32, 3, 0),
        equal(libc::SYS_rt_sigreturn as u32, 2, 0),
        equal(libc::SYS_exit_group as u32, 1, 0),
        statement(RETURN, KILL),
        statement(RETURN, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog {
        len: filter.len() as u16,
        filter: filter.as_mut_ptr(),
    };
    // SAFETY: the program is valid for the duration of the calls.
    unsafe {
        if libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 {
            libc::prctl(
                libc::PR_SET_SECCOMP,
                libc::SECCOMP_MODE_FILTER,
                &raw const program,
            );
        }
    }
}
