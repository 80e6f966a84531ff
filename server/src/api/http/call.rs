//! A request as handlers see it: who calls, what was asked, and a body that is read on demand.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use common::ids::WorkspaceId;
use common::input::text::is_plain;
use common::package::loose::Loose;
use warp::Filter;
use warp::http::HeaderMap;
use warp::http::header::{AUTHORIZATION, CONTENT_LENGTH};
use warp::path::FullPath;

use super::body::Arriving;
use super::client;
use super::route::{Access, Fields};
use super::serving::Peer;
use super::serving::exchange;
use super::{known, query};
use crate::api::State;
use crate::app::App;
use crate::error::{Error, Result};
use crate::incoming::{self, ByteStream};
use crate::limits::concurrency::Permit;
use crate::people::caller;
use crate::people::caller::Caller;
use crate::people::server_owner::ServerOwner;

/// The most bytes of an ordinary body.
pub const BODY_BYTES_MAX: u64 = 1024 * 1024;

/// One request.
pub struct Call {
    state: Arc<State>,
    access: Access,
    /// What the route takes in the query; `None` is anything.
    query: Option<Fields>,
    /// What the route takes in a body that is a JSON object.
    fields: Fields,
    /// The path's, the next one last.
    segments: Vec<Segment>,
    /// As it came, percent-encoded.
    pub path: FullPath,
    /// The other end of the connection.
    peer: Option<Peer>,
    pub headers: HeaderMap,
    /// As it came, without the question mark.
    pub raw_query: String,
    body: Arriving,
}

/// A segment of the path, percent-decoded.
pub struct Segment(pub String);

impl FromStr for Segment {
    type Err = ();

    fn from_str(text: &str) -> std::result::Result<Self, ()> {
        let decoded = percent_encoding::percent_decode_str(text).decode_utf8().map_err(drop)?;
        if !decoded.chars().all(is_plain) {
            return Err(());
        }
        Ok(Self(decoded.into_owned()))
    }
}

impl Segment {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Reads the segment as an id. What is no id counts as not found.
    pub fn id<T: FromStr>(&self, what: &str) -> Result<T> {
        self.0.parse().map_err(|_| Error::not_found(what, &self.0))
    }
}

/// Takes the request apart; never refuses it.
pub fn call(
    state: &Arc<State>,
) -> impl Filter<Extract = (Call,), Error = warp::Rejection> + Clone + use<> {
    let state = state.clone();
    let query = warp::query::raw().or(warp::any().map(String::new)).unify();
    warp::ext::optional::<Peer>()
        .and(warp::path::full())
        .and(warp::header::headers_cloned())
        .and(query)
        .and(warp::body::stream())
        .map(move |peer: Option<Peer>, path, headers: HeaderMap, raw_query, body| Call {
            state: state.clone(),
            access: Access::AnyRole,
            query: None,
            fields: Fields::Borrowed(&[]),
            segments: Vec::new(),
            path,
            body: Arriving::new(body, &headers, state.pace(), peer.clone()),
            peer,
            headers,
            raw_query,
        })
}

impl Call {
    /// Says whom the route that took the request lets in, its segments of the path, and what its
    /// query and its body may hold.
    ///
    /// # Errors
    /// Where the query holds something else.
    pub fn enter(
        &mut self,
        access: Access,
        mut segments: Vec<Segment>,
        query: Option<Fields>,
        fields: Fields,
    ) -> Result<()> {
        segments.reverse();
        self.segments = segments;
        self.access = access;
        self.query = query;
        self.fields = fields;
        self.query().map(drop)
    }

    /// The next segment of the path that stands for something.
    ///
    /// # Panics
    ///
    /// Where the route's path has fewer than its handler takes; the tests call every one.
    pub fn segment(&mut self) -> Segment {
        self.segments.pop().expect("the path has as many segments as the handler takes")
    }

    pub fn app(&self) -> &App {
        &self.state.app
    }

    pub fn state(&self) -> &Arc<State> {
        &self.state
    }

    /// Who calls, by the access token or API key in the Authorization header.
    ///
    /// # Errors
    /// `Forbidden` where they may not do what the route is for: this is the one place that asks.
    pub async fn caller(&self) -> Result<Caller> {
        let header = self.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let caller = self.stranger_unless(caller::caller(self.app(), header).await)?;
        self.state.requests.take(&caller.workspace.to_string())?;
        if let Access::Scope(needed) = self.access {
            caller.check(needed)?;
        }
        self.authenticated();
        Ok(caller)
    }

    /// Who calls, as the server's owner.
    pub async fn server_owner(&self) -> Result<(Caller, ServerOwner)> {
        let caller = self.caller().await?;
        let owner = ServerOwner::require(self.app(), &caller).await?;
        Ok((caller, owner))
    }

    /// The request has proven who makes it: its connection need not make room for strangers.
    pub fn authenticated(&self) {
        if let Some(peer) = &self.peer {
            peer.authenticated();
        }
    }

    /// Waits for a place to make an answer that grows with what the caller has. It is held until
    /// the answer is made.
    pub async fn answer_permit(&self, caller: &Caller) -> Permit<WorkspaceId> {
        self.state.answers.take(caller.workspace).await
    }

    /// Counts a request that proves nothing of who makes it.
    pub fn stranger(&self) -> Result<()> {
        self.state.strangers.take(&self.network())
    }

    /// Where the request comes from: an address, or the network of it that is one person's.
    pub fn network(&self) -> String {
        let remote = self.peer.as_ref().map(|peer| peer.remote);
        client::name(remote, &self.headers, &self.app().settings.trusted_proxies)
    }

    /// Whether it comes straight from a program on this machine.
    pub fn is_local(&self) -> bool {
        let remote = self.peer.as_ref().map(|peer| peer.remote);
        client::is_local(remote, &self.headers, &self.app().settings.trusted_proxies)
    }

    /// Notes who calls, and counts a request whose token or key turned out to be wrong.
    pub fn stranger_unless(&self, caller: Result<Caller>) -> Result<Caller> {
        match &caller {
            Ok(caller) => exchange::note_caller(*caller),
            Err(Error::Unauthenticated) => self.stranger()?,
            Err(_) => {}
        }
        caller
    }

    /// The query's fields that the route knows.
    pub fn query(&self) -> Result<BTreeMap<String, String>> {
        match &self.query {
            None => Ok(BTreeMap::new()),
            Some(known) => query::read(&self.raw_query, known),
        }
    }

    /// What the request says about its body's size.
    pub fn content_length(&self) -> Option<u64> {
        self.headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
    }

    /// The whole body.
    pub async fn bytes(&mut self, max: u64) -> Result<Bytes> {
        if self.content_length().is_some_and(|length| length > max) {
            return Err(Error::TooLarge(max));
        }
        let mut whole = BytesMut::new();
        while let Some(piece) = self.next_piece().await {
            whole.extend_from_slice(&piece?);
            if whole.len() as u64 > max {
                return Err(Error::TooLarge(max));
            }
        }
        Ok(whole.freeze())
    }

    /// The body as a JSON object of fields that the route knows; an empty body is an empty one.
    pub async fn json(&mut self) -> Result<Loose> {
        let bytes = self.bytes(BODY_BYTES_MAX).await?;
        self.object(&bytes)
    }

    /// A body that has been read as a JSON object of fields that the route knows.
    pub fn object(&self, body: &[u8]) -> Result<Loose> {
        let body = Loose::parse("", if body.is_empty() { b"{}" } else { body })?;
        known::check(&body, &self.fields)?;
        Ok(body)
    }

    /// The next piece of the body.
    ///
    /// # Errors
    /// Where the body breaks off, or arrives too slowly.
    pub async fn next_piece(&mut self) -> Option<Result<Bytes>> {
        self.body.next().await
    }

    /// The body as it arrives; nothing comes after a failure.
    pub fn into_stream(self) -> ByteStream {
        incoming::from_caller(futures::stream::unfold(Some(self.body), |body| async {
            let mut body = body?;
            match body.next().await? {
                Ok(piece) => Some((Ok(piece), Some(body))),
                Err(error) => Some((Err(error), None)),
            }
        }))
    }
}
