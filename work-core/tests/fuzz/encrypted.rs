use work_core::encryption::{EncryptedStore, Keys};
use work_core::store::{Inspect, JobFilter, MemoryStore, Order, Store, Want};
use work_core::testing::fuzz::{Fuzz, check_message};
use work_core::{DEFAULT_MAX_ARGS, Job};

/// What was written beside the store, as if it were encrypted: it is read, or a dead letter, and the job beside it is leased.
#[tokio::test]
async fn whatever_looks_encrypted_is_opened_or_a_dead_letter() {
    let keys = || Keys::new("2026", [7; 32]).unwrap();
    let sealed = EncryptedStore::new(MemoryStore::new(), keys());
    let text = sealed.seal(vec![Job::new("any", "secret").into_stored(DEFAULT_MAX_ARGS).unwrap()]).unwrap();
    let text = String::from_utf8(text[0].args.to_vec()).unwrap();
    let corpus = [
        text.as_str(),
        r#"{"$enc":"v1","key":"2026","data":""}"#,
        r#"{"$enc":"v1","key":"2025","of":"unique","data":"AAAA"}"#,
        r#"{"$enc":"v2","key":"2026","of":"schedule","data":"AAAA"}"#,
        r#"{"key":"2026","$enc":"v1","data":7}"#,
    ];
    let mut fuzz = Fuzz::new("what looks encrypted");
    while let Some(mut random) = fuzz.next_case() {
        let inside = MemoryStore::new();
        let store = EncryptedStore::new(inside.clone(), keys());
        let mut job = Job::from_json("any", random.bytes(&corpus));
        for name in ["work.chain", "work.previous", "work.failed", "work.on-error"] {
            if random.once_in(6) {
                job = job.header(name, random.text(&corpus));
            }
        }
        let Ok(job) = job.into_stored(DEFAULT_MAX_ARGS) else { continue };
        let beside = Job::new("beside", ()).into_stored(DEFAULT_MAX_ARGS).unwrap();
        inside.insert(vec![job]).await.unwrap();
        store.insert(vec![beside]).await.unwrap();
        let want = Want { limit: 10, worker: "fuzz".into(), ..Want::default() };
        let leased = store.lease(want).await.unwrap().jobs;
        assert!(leased.iter().any(|lease| lease.job.parts.kind.as_str() == "beside"), "case {}", fuzz.case());
        let listed = store.list(JobFilter::all(), Order::OldestFirst, None, 10).await.unwrap().jobs;
        assert_eq!(listed.len(), 2, "case {}", fuzz.case());
        for error in listed.iter().filter_map(|job| job.last_error()) {
            check_message(&error.message);
        }
    }
}
