//! Chat over HTTP: Anthropic Messages, OpenAI Chat Completions and compatible servers.
//!
//! A [`ChatRequest`] goes in, an [`Answer`] or a [`ChatError`] comes out; which wire format lies between
//! is a property of the [`Endpoint`]. Modules in reading order:
//!
//! * [`chat`]: the neutral request, answer and error
//! * [`endpoint`]: where a server is and what it speaks
//! * [`client`]: one call: send, read plain or streamed, give up in time
//! * [`http`]: the HTTP clients, and what they refuse to do
//! * `anthropic`, `openai`: the two wire formats
//! * `draft`: an answer while it is read, and what makes it a whole one
//! * [`sse`]: server-sent events, read piece by piece
//! * `failure`: what a status, its headers and its error code mean
//! * [`estimate`]: tokens of a text, before a provider has counted them
//! * [`keys`]: API keys, read and never shown
//! * [`bucket`]: the arithmetic of a rate limit
//! * [`pool`]: several keys with their limits, leased one call at a time

mod anthropic;
pub mod bucket;
pub mod chat;
pub mod client;
mod draft;
pub mod endpoint;
pub mod estimate;
mod failure;
pub mod http;
pub mod keys;
mod openai;
pub mod pool;
pub mod sse;

pub use chat::{Answer, Bill, ChatError, ChatRequest, FailureKind};
pub use client::ChatClient;
pub use endpoint::Endpoint;
