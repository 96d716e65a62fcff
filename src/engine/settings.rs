//! Owns the limits and choices of one encke. Rule: every limit is finite by default; the answer time-out alone is off.

/// Times are milliseconds, sizes are bytes.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Bits of the optional events the host wants, by event kind.
    pub events: u64,
    pub max_connections: u64,
    /// For the preparation of a secure connection.
    pub handshake_timeout: u64,
    pub max_pipeline: u32,
    pub max_head: usize,
    pub max_body: u64,
    pub buffer_body: usize,
    pub head_timeout: u64,
    pub body_timeout: u64,
    pub idle_timeout: u64,
    pub write_timeout: u64,
    /// 0: never.
    pub answer_timeout: u64,
    pub high_water: u64,
    pub low_water: u64,
    pub max_memory: u64,
    pub max_held: u64,
    pub body_window: u64,
    pub max_fields: usize,
    /// 100-continue goes out by the host's word only.
    pub manual_continue: bool,
    /// Unsafe methods wait for the requests before them.
    pub pipeline_safe: bool,
    pub connect: bool,
    /// The Server field; empty: none.
    pub server: Vec<u8>,
    /// Other origins whose pages may subscribe: patterns, in lower case.
    pub origins: Box<str>,
    /// Silence of a WebSocket before it is asked for a sign of life; 0: it is not.
    pub websocket_heartbeat: u64,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            events: 0,
            max_connections: 100_000,
            handshake_timeout: 10_000,
            max_pipeline: 128,
            max_head: 32 << 10,
            max_body: 64 << 20,
            buffer_body: 64 << 10,
            head_timeout: 15_000,
            body_timeout: 30_000,
            idle_timeout: 60_000,
            write_timeout: 30_000,
            answer_timeout: 0,
            high_water: 256 << 10,
            low_water: 64 << 10,
            max_memory: 256 << 20,
            max_held: 65_536,
            body_window: 256 << 10,
            max_fields: 100,
            manual_continue: false,
            pipeline_safe: false,
            connect: false,
            server: Vec::new(),
            origins: Box::default(),
            websocket_heartbeat: 30_000,
        }
    }
}

impl Settings {
    pub fn wants(&self, kind: u32) -> bool {
        self.events & (1 << kind) != 0
    }
}
