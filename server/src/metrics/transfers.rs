//! Bytes that pass through the server. What clients and nodes read from the bucket by links of its
//! own does not.

use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use instruments::{Builder, IntCounter};

/// What the bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// From a customer, by a signed link.
    Upload,
    /// To a customer, by a signed link.
    Download,
    /// Inputs, packages, images and cache files to a node.
    NodeInput,
    NodePackage,
    NodeImage,
    NodeCache,
    /// A result from a node.
    NodeResult,
}

impl Kind {
    const ALL: [Self; 7] = [
        Self::Upload,
        Self::Download,
        Self::NodeInput,
        Self::NodePackage,
        Self::NodeImage,
        Self::NodeCache,
        Self::NodeResult,
    ];

    /// The values of the labels `direction` and `kind`.
    const fn labels(self) -> [&'static str; 2] {
        match self {
            Self::Upload => ["in", "upload"],
            Self::Download => ["out", "download"],
            Self::NodeInput => ["out", "node_input"],
            Self::NodePackage => ["out", "node_package"],
            Self::NodeImage => ["out", "node_image"],
            Self::NodeCache => ["out", "node_cache"],
            Self::NodeResult => ["in", "node_result"],
        }
    }
}

#[derive(Debug)]
pub struct TransferMetrics([IntCounter; Kind::ALL.len()]);

impl TransferMetrics {
    pub(super) fn new(builder: &mut Builder) -> Self {
        let bytes = builder.counters(
            "fanfold_transferred_bytes_total",
            "Bytes of files that have passed through the server: `upload` and `download` by \
             customers' signed links, the others from and to nodes",
            &["direction", "kind"],
        );
        Self(Kind::ALL.map(|kind| bytes.with_label_values(&kind.labels())))
    }

    fn of(&self, kind: Kind) -> &IntCounter {
        let [upload, download, input, package, image, cache, result] = &self.0;
        match kind {
            Kind::Upload => upload,
            Kind::Download => download,
            Kind::NodeInput => input,
            Kind::NodePackage => package,
            Kind::NodeImage => image,
            Kind::NodeCache => cache,
            Kind::NodeResult => result,
        }
    }

    /// Counts bytes that have passed in one piece.
    pub fn count(&self, kind: Kind, bytes: u64) {
        self.of(kind).inc_by(bytes);
    }

    /// The same bytes, counted as they pass.
    pub fn counted<E, S>(
        &self,
        kind: Kind,
        bytes: S,
    ) -> impl Stream<Item = Result<Bytes, E>> + Send + use<E, S>
    where
        S: Stream<Item = Result<Bytes, E>> + Send,
    {
        let counter = self.of(kind).clone();
        bytes.inspect(move |piece| {
            if let Ok(piece) = piece {
                counter.inc_by(piece.len() as u64);
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use futures::executor::block_on_stream;

    use super::*;

    #[test]
    fn bytes_are_counted_under_their_own_kind() {
        let mut builder = Builder::new("x", "0");
        let metrics = TransferMetrics::new(&mut builder);
        for kind in Kind::ALL {
            let pieces = [Ok(Bytes::from_static(b"abc")), Err("broken off")];

            let passed: Vec<_> =
                block_on_stream(metrics.counted(kind, futures::stream::iter(pieces))).collect();

            assert_eq!(passed.len(), 2);
        }
        let text = builder.build().render();

        for [direction, kind] in Kind::ALL.map(Kind::labels) {
            let line = format!(
                "fanfold_transferred_bytes_total{{direction=\"{direction}\",kind=\"{kind}\"}} 3"
            );
            assert!(text.contains(&line), "{line}: {text}");
        }
    }
}
