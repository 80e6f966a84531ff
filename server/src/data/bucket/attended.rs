//! Work on a bucket that takes long: the bucket is asked for something else meanwhile, and where
//! it does not answer that either, the work is given up. So callers hear within seconds that a
//! bucket is away, and an upload may take as long as its bytes need.

use std::pin::pin;
use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _};
use tokio::time::timeout;

use crate::data::{ByteStream, Error};

/// After this time the bucket is asked whether it is there, and it has the same for its answer.
const PATIENCE: Duration = Duration::from_secs(3);

/// Does the work, as long as `probe` is answered.
///
/// # Errors
/// What the work says, and `Store` where there is no answer.
pub async fn attended<T, P: Future<Output = Result<(), Error>>>(
    probe: impl Fn() -> P,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    attended_for(PATIENCE, probe, work).await
}

async fn attended_for<T, P: Future<Output = Result<(), Error>>>(
    patience: Duration,
    probe: impl Fn() -> P,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    let mut work = pin!(work);
    loop {
        if let Ok(done) = timeout(patience, &mut work).await {
            return done;
        }
        tokio::select! {
            done = &mut work => return done,
            answer = timeout(patience, probe()) => answer.unwrap_or_else(|_| Err(silent()))?,
        }
    }
}

/// The same for a stream, piece by piece.
pub fn stream<P: Future<Output = Result<(), Error>> + Send>(
    probe: impl Fn() -> P + Send + Sync + 'static,
    bytes: ByteStream,
) -> ByteStream {
    let pieces = futures::stream::try_unfold((bytes, probe), |(mut bytes, probe)| async move {
        let piece = attended(&probe, bytes.try_next()).await?;
        Ok(piece.map(|piece| (piece, (bytes, probe))))
    });
    pieces.boxed()
}

fn silent() -> Error {
    let source = "it does not answer".into();
    Error::Store(object_store::Error::Generic { store: "bucket", source })
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use tokio::time::sleep;

    use super::*;

    const SHORT: Duration = Duration::from_millis(5);

    #[tokio::test]
    async fn work_on_a_silent_bucket_is_abandoned() {
        let done = attended_for(SHORT, pending, pending::<Result<(), Error>>()).await;

        assert!(done.unwrap_err().is_away());
    }

    #[tokio::test]
    async fn work_on_a_bucket_that_refuses_the_probe_ends_with_its_reason() {
        let refuses = || ready(Err(Error::NotFound("x".to_owned())));

        let done = attended_for(SHORT, refuses, pending::<Result<(), Error>>()).await;

        assert!(matches!(done, Err(Error::NotFound(_))), "{done:?}");
    }

    #[tokio::test]
    async fn work_continues_as_long_as_its_bucket_answers() {
        let slow = async {
            sleep(SHORT * 10).await;
            Ok(7)
        };

        assert_eq!(attended_for(SHORT, || ready(Ok(())), slow).await.unwrap(), 7);
    }
}
