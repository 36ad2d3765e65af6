//! Query parameters, checked one by one, so that an error names the one it is about.

use std::str::FromStr;

use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;
use store::{Offsets, Selector, TimeRange};

use super::error::ApiError;
use crate::flame::GroupBy;
use crate::import::is_label_name;

/// The parameters that may come several times.
const REPEATED: [&str; 2] = ["label", "part"];

/// The parameters of a request; but for [`REPEATED`], each at most once.
pub(super) struct Params(Vec<(String, String)>);

impl<S: Send + Sync> FromRequestParts<S> for Params {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let Query(pairs) =
            Query::<Vec<(String, String)>>::from_request_parts(parts, state).await.map_err(|error| {
                ApiError::bad_request("the query string cannot be read").detail(error.body_text())
            })?;
        for (i, (name, _)) in pairs.iter().enumerate() {
            if !REPEATED.contains(&name.as_str()) && pairs[..i].iter().any(|(other, _)| other == name) {
                return Err(ApiError::bad_request(format!("the parameter `{}` is given twice", short(name))));
            }
        }
        Ok(Self(pairs))
    }
}

/// Names come from the client and end up in messages.
fn short(text: &str) -> String {
    text.chars().take(64).collect()
}

impl Params {
    /// Refuses parameters other than `known`: a mistyped one would otherwise silently answer another question.
    pub(super) fn only(self, known: &[&str]) -> Result<Self, ApiError> {
        match self.0.iter().find(|(name, _)| !known.contains(&name.as_str())) {
            Some((name, _)) => {
                let known = known.join(", ");
                Err(ApiError::bad_request(format!("unknown parameter `{}`", short(name)))
                    .detail(format!("this address takes: {known}")))
            }
            None => Ok(self),
        }
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// Every `label=NAME=VALUE`.
    pub(super) fn labels(&self) -> Result<Vec<(String, String)>, ApiError> {
        let all = self.0.iter().filter(|(name, _)| name == "label");
        all.map(|(_, text)| match text.split_once('=') {
            Some((name, value)) if is_label_name(name) => Ok((name.to_owned(), value.to_owned())),
            _ => Err(ApiError::bad_request(format!("`{}` is not NAME=VALUE of a label", short(text)))),
        })
        .collect()
    }

    /// A whole number from 1 to `max`.
    pub(super) fn number<T: FromStr + PartialOrd + From<u8> + std::fmt::Display>(
        &self,
        name: &str,
        max: T,
    ) -> Result<Option<T>, ApiError> {
        let Some(text) = self.text(name) else { return Ok(None) };
        match text.parse() {
            Ok(number) if number >= T::from(1) && number <= max => Ok(Some(number)),
            _ => Err(ApiError::bad_request(format!(
                "{name} must be a whole number from 1 to {max}, not `{}`",
                short(text)
            ))),
        }
    }

    /// Length of a bucket in milliseconds, a fraction rounded up; the store bounds it from below.
    pub(super) fn step_ms(&self) -> Result<Option<i64>, ApiError> {
        let Some(text) = self.text("step_ms") else { return Ok(None) };
        match text.parse::<f64>() {
            // What is too large for an i64 becomes the largest one: a single bucket.
            Ok(step) if step > 0.0 => Ok(Some(step.ceil() as i64)),
            _ => {
                Err(ApiError::bad_request(format!("step_ms must be a number above 0, not `{}`", short(text))))
            }
        }
    }

    pub(super) fn selector(&self) -> Result<Selector, ApiError> {
        Ok(Selector::parse(self.text("query").unwrap_or_default())?)
    }

    pub(super) fn range(&self, now_ms: i64) -> Result<TimeRange, ApiError> {
        let from = self.text("from").unwrap_or("-15m");
        Ok(TimeRange::parse(from, self.text("until").unwrap_or("now"), now_ms)?)
    }

    /// The parts of seconds that are asked for.
    pub(super) fn offsets(&self) -> Result<Option<Offsets>, ApiError> {
        let number = |name, default: i64| match self.text(name) {
            None => Ok(default),
            Some(text) => text.parse().map_err(|_| {
                let text = short(text);
                ApiError::bad_request(format!("{name} must be a whole number from 0 to 1000, not `{text}`"))
            }),
        };
        let rectangles = self.rectangles()?;
        if self.text("offset_from_ms").or(self.text("offset_until_ms")).is_none() {
            return Ok(if rectangles.is_empty() { None } else { Some(Offsets::rectangles(&rectangles)?) });
        }
        if !rectangles.is_empty() {
            return Err(ApiError::bad_request("give either part, or offset_from_ms and offset_until_ms"));
        }
        Ok(Some(Offsets::new(number("offset_from_ms", 0)?, number("offset_until_ms", 1000)?)?))
    }

    /// Every `part=FROM,UNTIL,LOW,HIGH`.
    fn rectangles(&self) -> Result<Vec<(TimeRange, i64, i64)>, ApiError> {
        let all = self.0.iter().filter(|(name, _)| name == "part");
        all.map(|(_, text)| {
            let numbers: Result<Vec<i64>, _> = text.splitn(5, ',').map(str::parse).collect();
            match numbers.as_deref() {
                Ok([from, until, low, high]) => Ok((TimeRange::new(*from, *until)?, *low, *high)),
                _ => Err(ApiError::bad_request(format!(
                    "part must be FROM,UNTIL,LOW,HIGH in whole milliseconds, not `{}`",
                    short(text)
                ))),
            }
        })
        .collect()
    }

    pub(super) fn by(&self) -> Result<GroupBy, ApiError> {
        let by = self.text("by").map(GroupBy::from_str).transpose();
        Ok(by.map_err(|error| ApiError::bad_request(error.to_string()))?.unwrap_or_default())
    }
}
