//! What `-w` prints behind an answer.

use std::time::Duration;

use http::header::CONTENT_TYPE;
use keybound_client::Response;

/// What there is to print.
pub(super) struct Facts {
    code: u16,
    content_type: String,
    url: String,
    attempts: u32,
    pub(super) size: u64,
    pub(super) time: Duration,
}

impl Facts {
    pub(super) fn of(response: &Response) -> Self {
        let content_type = response.headers().get(CONTENT_TYPE).map(super::report::plain).unwrap_or_default();
        Self {
            code: response.status().as_u16(),
            content_type,
            url: response.url().to_string(),
            attempts: response.tries(),
            size: 0,
            time: Duration::ZERO,
        }
    }

    /// `format` with its variables filled in; one that is unknown stays as it is.
    pub(super) fn fill(&self, format: &str) -> String {
        let mut text = String::with_capacity(format.len());
        let mut rest = format;
        while let Some(at) = rest.find(['%', '\\']) {
            let (before, from) = rest.split_at(at);
            text.push_str(before);
            let (piece, length) = self.piece(from);
            text.push_str(&piece);
            rest = from.get(length..).unwrap_or_default();
        }
        text + rest
    }

    /// What the beginning of `from` means, and how long it is.
    fn piece(&self, from: &str) -> (String, usize) {
        for (sign, meaning) in [("%%", "%"), ("\\n", "\n"), ("\\t", "\t"), ("\\r", "\r"), ("\\\\", "\\")] {
            if from.starts_with(sign) {
                return (meaning.to_owned(), sign.len());
            }
        }
        let name = from.strip_prefix("%{").and_then(|rest| rest.split_once('}')).map(|(name, _)| name);
        let value = name.and_then(|name| Some((self.value(name)?, name.len() + 3)));
        value.unwrap_or_else(|| (from.chars().take(1).collect(), 1))
    }

    fn value(&self, name: &str) -> Option<String> {
        Some(match name {
            "http_code" | "response_code" => format!("{:03}", self.code),
            "content_type" => self.content_type.clone(),
            "url_effective" => self.url.clone(),
            "num_attempts" => self.attempts.to_string(),
            "size_download" => self.size.to_string(),
            "time_total" => format!("{:.6}", self.time.as_secs_f64()),
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_filled() {
        let facts = Facts {
            code: 200,
            content_type: "text/plain".to_owned(),
            url: "https://a.example/".to_owned(),
            attempts: 2,
            size: 17,
            time: Duration::from_millis(1500),
        };
        for (format, expected) in [
            ("%{http_code}\\n", "200\n"),
            ("%{num_attempts} %{size_download} %{time_total}", "2 17 1.500000"),
            ("100%% %{unknown} %{http_code", "100% %{unknown} %{http_code"),
            ("a\\tb\\\\n%", "a\tb\\n%"),
            ("", ""),
        ] {
            assert_eq!(facts.fill(format), expected, "{format}");
        }
    }
}
