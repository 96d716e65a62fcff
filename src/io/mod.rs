//! Where bytes meet the operating system: readiness, sockets, listeners, wake-up, the timer. The only room with system
//! calls. Rule: nothing here waits but [`driver::Driver::wait`], and the one fd tells the truth after every call.

mod accepting;
pub mod address;
pub mod clock;
mod delivery;
#[cfg(feature = "links")]
pub mod dial;
pub mod driver;
#[cfg(any(target_os = "linux", target_os = "android"))]
mod epoll;
pub mod files;
pub mod fork;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod kqueue;
pub mod listener;
#[cfg(not(feature = "tls"))]
mod no_tls;
pub mod poller;
#[cfg(all(feature = "links", feature = "tls"))]
pub mod roots;
pub mod secure;
pub mod serving;
#[cfg(feature = "links")]
pub mod small_file;
pub mod socket;
#[cfg(not(feature = "links"))]
#[path = "no_tasks.rs"]
mod tasks;
#[cfg(feature = "links")]
pub mod tasks;
mod traffic;
pub mod wake;
mod watch;

#[cfg(not(unix))]
compile_error!("encke has no driver for this system yet: it needs epoll or kqueue");
