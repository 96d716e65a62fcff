//! WebSocket (RFC 6455) as plain values: bytes in, messages out, and the other way round. No socket, no request.

pub mod decoder;
pub mod deflate;
pub mod frame;
pub mod handshake;

pub const CONTINUATION: u8 = 0;
pub const TEXT: u8 = 1;
pub const BINARY: u8 = 2;
pub const CLOSE: u8 = 8;
pub const PING: u8 = 9;
pub const PONG: u8 = 10;

/// Close codes that the library says itself (RFC 6455, 7.4.1, and the IANA registry).
pub mod code {
    pub const NORMAL: u16 = 1000;
    pub const GOING_AWAY: u16 = 1001;
    pub const PROTOCOL: u16 = 1002;
    /// Said to the host alone: the connection was lost.
    pub const ABNORMAL: u16 = 1006;
    /// Said to the host alone: a close without a code.
    pub const NONE: u16 = 1005;
    pub const NOT_TEXT: u16 = 1007;
    pub const POLICY: u16 = 1008;
    pub const TOO_BIG: u16 = 1009;
    pub const TRY_AGAIN_LATER: u16 = 1013;
}

/// Whether a peer may say this code (RFC 6455, 7.4).
pub fn is_sendable(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}
