//! How an HTTP request looks to a function, and how what a function answers becomes an HTTP reply.
//!
//! Handlers speak Lambda's Function-URL payload, version 2.0: a request becomes one JSON event ([`event`]) and the
//! handler's JSON result becomes a reply ([`reply`]). `stdio` programs see a CGI-style environment ([`cgi_env`]).
//! Replies that stream begin with a [`Prelude`], or have their status and headers checked by [`reply_head`].
//!
//! Owns the translation only. Hop-by-hop headers, `x-fn-*`, limits and content lengths are the gateway's business: it
//! removes what must not pass before the request comes here and after the reply leaves here.

mod cgi;
mod event;
mod prelude;
mod reply;
mod request;

pub use cgi::cgi_env;
pub use event::{event, repeated};
pub use prelude::{PRELUDE_TYPE, Prelude, SEPARATOR};
pub use reply::{BadReply, Reply, ReplyHead, reply, reply_head};
pub use request::RequestHead;
