//! Which text a client gets.

/// A text format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Prometheus's own, version 0.0.4.
    Prometheus,
    /// OpenMetrics, version 1.0.0.
    OpenMetrics,
}

impl Format {
    /// What the header `Accept` (RFC 9110 section 12.5.1) likes best. Who accepts neither, or says nothing, gets Prometheus's own:
    /// every monitoring system reads that.
    pub fn accepted(header: &str) -> Self {
        let mut best = (Self::Prometheus, 0.0);
        for (format, weight) in header.split(',').filter_map(offer) {
            if weight > best.1 {
                best = (format, weight);
            }
        }
        best.0
    }

    /// The header `Content-Type` that goes with it.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// One member of the header, and its weight.
fn offer(member: &str) -> Option<(Format, f64)> {
    let mut parts = member.split(';').map(str::trim);
    let kind = parts.next()?.to_ascii_lowercase();
    let parameters: Vec<(&str, &str)> = parts.filter_map(|part| part.split_once('=')).collect();
    let parameter = |name: &str| parameters.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, v)| *v);
    let format = match kind.as_str() {
        "application/openmetrics-text" if parameter("version").is_none_or(|version| version == "1.0.0") => {
            Format::OpenMetrics
        }
        "text/plain" | "text/*" | "*/*" => Format::Prometheus,
        _ => return None,
    };
    Some((format, parameter("q").map_or(Some(1.0), |weight| weight.parse().ok())?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_liked_best_is_given() {
        let prometheus_2 = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
                            text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        let prometheus_3 = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,\
                            application/openmetrics-text;version=0.0.1;q=0.4,\
                            text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,/;q=0.1";
        for (header, expected) in [
            (prometheus_2, Format::OpenMetrics),
            (prometheus_3, Format::OpenMetrics),
            ("application/openmetrics-text", Format::OpenMetrics),
            ("Application/OpenMetrics-Text; Q=0.3, text/plain; q=0.2", Format::OpenMetrics),
            ("application/openmetrics-text;q=0.2, text/plain", Format::Prometheus),
            ("application/openmetrics-text;version=2.0.0", Format::Prometheus),
            ("application/openmetrics-text;q=0", Format::Prometheus),
            ("application/openmetrics-text;q=high", Format::Prometheus),
            ("text/html,application/xhtml+xml,*/*;q=0.8", Format::Prometheus),
            ("image/png", Format::Prometheus),
            ("", Format::Prometheus),
        ] {
            assert_eq!(Format::accepted(header), expected, "{header}");
        }
    }
}
