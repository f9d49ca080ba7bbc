//! The named steps of a user interrupt.

/// What happens, in the order in which it happens. SDM Vol. 3, "User-Interrupt Posting",
/// "User-Interrupt Notification Identification", "User-Interrupt Notification Processing",
/// "User-Interrupt Delivery"; Vol. 2, "SENDUIPI", "UIRET".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Step {
    /// SENDUIPI reads the UITT entry.
    ReadUittEntry,
    /// SENDUIPI locks the UPID and reads it.
    LockUpid,
    /// The user vector's bit is set in PIR.
    SetPir,
    /// ON and SN are tested; ON is set if a notification will be sent.
    TestOnSn,
    /// The UPID is written back and unlocked.
    WriteUpid,
    /// The notification IPI is sent.
    SendIpi,
    /// The receiver's processor acknowledges an interrupt from its local APIC.
    Accept,
    /// Its vector is that of user-interrupt notification (UINV).
    Identify,
    /// EOI is written to the local APIC.
    EndOfInterrupt,
    /// ON is cleared in the UPID.
    ClearOn,
    /// PIR is read and cleared.
    TakePir,
    /// The requests are merged into UIRR.
    FillUirr,
    /// A user interrupt is recognised: it will be delivered at this boundary.
    Recognise,
    /// RSP is adjusted for the frame.
    AdjustStack,
    /// The interrupted RSP is pushed.
    PushRsp,
    /// The interrupted RFLAGS is pushed.
    PushRflags,
    /// The interrupted RIP is pushed.
    PushRip,
    /// The user vector is pushed.
    PushVector,
    /// The request bit is cleared in UIRR, UIF is cleared.
    ClearUirrBit,
    /// RIP becomes the handler's address.
    EnterHandler,
    /// UIRET reads the frame.
    PopFrame,
    /// UIRET restores RIP, RFLAGS, RSP and sets UIF.
    Resume,
}

impl Step {
    /// Every step, in order.
    pub const ALL: [Step; 22] = {
        use Step::*;
        [
            ReadUittEntry,
            LockUpid,
            SetPir,
            TestOnSn,
            WriteUpid,
            SendIpi,
            Accept,
            Identify,
            EndOfInterrupt,
            ClearOn,
            TakePir,
            FillUirr,
            Recognise,
            AdjustStack,
            PushRsp,
            PushRflags,
            PushRip,
            PushVector,
            ClearUirrBit,
            EnterHandler,
            PopFrame,
            Resume,
        ]
    };

    /// A name for reports.
    pub const fn name(self) -> &'static str {
        use Step::*;
        match self {
            ReadUittEntry => "read UITT entry",
            LockUpid => "lock UPID",
            SetPir => "set PIR bit",
            TestOnSn => "test ON and SN",
            WriteUpid => "write UPID",
            SendIpi => "send IPI",
            Accept => "accept",
            Identify => "identify",
            EndOfInterrupt => "EOI",
            ClearOn => "clear ON",
            TakePir => "take PIR",
            FillUirr => "fill UIRR",
            Recognise => "recognise",
            AdjustStack => "adjust stack",
            PushRsp => "push RSP",
            PushRflags => "push RFLAGS",
            PushRip => "push RIP",
            PushVector => "push vector",
            ClearUirrBit => "clear UIRR bit",
            EnterHandler => "enter handler",
            PopFrame => "pop frame",
            Resume => "resume",
        }
    }
}
