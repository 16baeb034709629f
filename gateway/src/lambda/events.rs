//! Invocations of the type `Event`: what follows when the function ran, failed, or never got to run.
//!
//! ```text
//! attempt --> the function returned -------------------------------------> OnSuccess
//!    ^   \--> it failed --> too often -----------------------------------> OnFailure
//!    |             \------> again after a minute, then two, or as the operator says
//!    +---- and with no instance to be had, as the background has it -----> OnFailure when it is too old
//! ```
//!
//! A destination is another function of this server, which gets an event in its turn. The waits, the room and the log of what is lost are
//! [`background`](crate::background)'s.

use std::sync::Arc;
use std::time::Duration;

use ::functions::FunctionName;
use bytes::Bytes;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::address::Address;
use super::configuration::time;
use super::event_config::{self, EventConfig};
use super::fault::Kind;
use super::invoke::Asked;
use crate::background::{Attempt, Job, Lost};
use crate::gateway::Gateway;
use crate::request_id::RequestId;

/// Most destinations that lead from one event to the next: functions that are each other's destinations would go on for ever.
const MOST_HOPS: u8 = 16;

/// An event that was accepted.
pub(super) struct Event {
    asked: Asked,
    /// What its function, or the version or alias that it is addressed to, says about events. Read when an attempt is over.
    config: EventConfig,
    /// How often its function ran.
    runs: u32,
    /// How many destinations led to it.
    hops: u8,
}

impl Event {
    /// One of a client.
    pub(super) fn new(asked: Asked) -> Self {
        Self {
            asked,
            config: EventConfig::default(),
            runs: 0,
            hops: 0,
        }
    }

    /// Tells the destination, if there is one.
    async fn tell(&self, gateway: &Arc<Gateway>, end: End, result: Option<Result<Bytes, Bytes>>) {
        let Some(address) = self.config.destination(end == End::Success) else {
            return;
        };
        let lost = |why: &str| {
            let (function, request) = (&self.asked.address.name, self.asked.id);
            tracing::warn!(%function, %request, "the destination of an event was not told: {why}");
        };
        if self.hops >= MOST_HOPS {
            return lost("more destinations follow each other than may be");
        }
        let record = self.record(end, result).to_string().into_bytes();
        let next = match Asked::within(gateway, address, record).await {
            Ok(asked) => Event {
                hops: self.hops + 1,
                ..Event::new(asked)
            },
            Err(fault) => return lost(fault.message()),
        };
        if let Err(full) = gateway.background.accept(gateway.clone(), next) {
            lost(&full.to_string());
        }
    }

    /// What a destination gets ("Capturing records of Lambda asynchronous invocations", Lambda developer guide).
    fn record(&self, end: End, result: Option<Result<Bytes, Bytes>>) -> Value {
        let asked = &self.asked;
        let address = Address {
            name: asked.address.name.clone(),
            qualifier: Some(asked.address.qualifier()),
        };
        let mut record = json!({
            "version": "1.0",
            "timestamp": time(Timestamp::now()).replace("+0000", "Z"),
            "requestContext": {
                "requestId": asked.id.to_string(),
                "functionArn": address.arn(),
                "condition": end.as_str(),
                "approximateInvokeCount": self.runs,
            },
            "requestPayload": document(&asked.event),
        });
        if let Some(result) = result {
            record["responseContext"] = json!({ "statusCode": 200, "executedVersion": asked.version });
            if result.is_err() {
                record["responseContext"]["functionError"] = json!("Unhandled");
            }
            let (Ok(payload) | Err(payload)) = result;
            record["responsePayload"] = document(&payload);
        }
        record
    }
}

fn document(json: &[u8]) -> Value {
    serde_json::from_slice(json).unwrap_or(Value::Null)
}

/// How an event ends, in the words of a destination's record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Success,
    RetriesExhausted,
    EventAgeExceeded,
}

impl End {
    fn as_str(self) -> &'static str {
        match self {
            Self::Success => "Success",
            Self::RetriesExhausted => "RetriesExhausted",
            Self::EventAgeExceeded => "EventAgeExceeded",
        }
    }
}

/// How long to wait before the function runs again that failed so often, `first` after the first time; `None` when it does not.
fn pause(first: Duration, runs: u32, config: &EventConfig) -> Option<Duration> {
    (runs <= config.retries()).then(|| first.saturating_mul(runs))
}

impl Job for Event {
    fn function(&self) -> &FunctionName {
        &self.asked.address.name
    }

    fn id(&self) -> RequestId {
        self.asked.id
    }

    fn oldest(&self) -> Duration {
        self.config.age()
    }

    async fn attempt(&mut self, gateway: &Arc<Gateway>) -> Attempt {
        let ended = match self.asked.begin_again(gateway) {
            Ok(()) => self.asked.run(gateway).await,
            Err(gone) => Err(gone),
        };
        self.config = event_config::of(gateway, &self.asked.address).await;
        let result = match ended {
            Ok(ran) => ran.into_payload(),
            Err(fault) if matches!(fault.kind(), Kind::TooManyRequests | Kind::Unavailable) => {
                return Attempt::Later(fault.message().to_owned());
            }
            Err(fault) => return Attempt::Never(fault.message().to_owned()),
        };
        self.runs += 1;
        let end = match &result {
            Ok(_) => End::Success,
            Err(_) => match pause(gateway.background.retry_wait(), self.runs, &self.config) {
                Some(pause) => return Attempt::Again(pause, "the function failed".to_owned()),
                None => End::RetriesExhausted,
            },
        };
        self.tell(gateway, end, Some(result)).await;
        Attempt::Done
    }

    async fn lost(self, gateway: &Arc<Gateway>, why: Lost) {
        match why {
            Lost::TooOld => self.tell(gateway, End::EventAgeExceeded, None).await,
            Lost::Never => self.tell(gateway, End::RetriesExhausted, None).await,
            // A destination would not run either.
            Lost::Stopping => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_that_fails_runs_again_after_one_minute_and_two() {
        let (first, config) = (Duration::from_secs(60), EventConfig::default());
        let waits: Vec<_> = (1..=4)
            .map(|runs| pause(first, runs, &config).map(|wait| wait.as_secs()))
            .collect();
        assert_eq!(waits, [Some(60), Some(120), None, None]);
        let never = json!({ "retries": 0, "changed": "2026-01-01T00:00:00Z" });
        assert_eq!(pause(first, 1, &serde_json::from_value(never).unwrap()), None);
    }
}
