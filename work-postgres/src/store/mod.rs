mod look;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use deadpool::managed::{Pool, QueueMode};
use tokio::runtime::Handle;
use tokio_postgres::Config;
use tokio_postgres::config::Host;
use tokio_postgres::config::SslMode;
use work_core::limit::Rate;
use work_core::store::{
    BoxFuture, CancelOutcome, Fired, Firing, HandedOver, Inserted, LeaseKey, Leased, NewJob, Rescued, Retention,
    Settle, Settled, Settlement, Store, StoredSchedule, Told, Want, WorkerInfo, check_limit, check_rate,
};
use work_core::{Clock, JobId, Queue, StoreError};

use crate::arrivals::Arrivals;
use crate::connector::Connector;
use crate::error::{OpenError, in_full};
use crate::hand_over::{self, Offers};
use crate::inserter::{Inserter, Inserts};
use crate::instant::Instant;
use crate::lease::{Floors, Limited};
use crate::listen::Listener;
use crate::migrate::Target;
use crate::notify::Notifier;
use crate::prune::{AT_ONCE, Sweep};
use crate::sql::{Schema, Sql};
use crate::thread::IoThread;
use crate::{PostgresStoreBuilder, change, insert, lease, prune, queues, rates, schedules, settle, workers};

/// Jobs in a PostgreSQL database. Cheap to clone; the connections are closed when the last clone is gone.
///
/// ```no_run
/// use work_core::{Job, Store};
/// use work_postgres::PostgresStore;
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let store = PostgresStore::connect("postgres://app@localhost/app").await?;
/// let inserted = store.insert(vec![Job::new("greet", "Ann").into_stored(1024)?]).await?;
/// assert_eq!(inserted.len(), 1);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct PostgresStore {
    shared: Arc<Shared>,
    inserter: Inserter,
    _thread: Arc<IoThread>,
}

/// What the calls and the tasks share.
pub(crate) struct Shared {
    pub(crate) handle: Handle,
    pub(crate) pool: Pool<Connector>,
    pub(crate) server: String,
    pub(crate) sql: Sql,
    pub(crate) deadline: Duration,
    pub(crate) max_args: usize,
    pub(crate) arrivals: Arrivals,
    pub(crate) notifier: Notifier,
    pub(crate) offers: Offers,
    pub(crate) listener: Listener,
    pub(crate) floors: Floors,
    pub(crate) limited: Limited,
    /// Whether statements can be prepared, which is so unless a pooler is in between.
    pub(crate) prepares: AtomicBool,
    /// Marks our own notifications.
    pub(crate) instance: String,
    clock: Option<Clock>,
    listening: OnceLock<()>,
    /// The last job that was looked at for being old.
    swept: AtomicI64,
}

/// What is due so soon is told of at once.
const SOON: Duration = Duration::from_secs(1);

impl Shared {
    /// The time, unless it is the server's.
    pub(crate) fn now(&self) -> Option<Instant> {
        self.clock.as_ref().map(|clock| clock.now().into())
    }

    /// Tells who waits, here and elsewhere, of a job that is due.
    fn made_available(&self, queue: &str) {
        let here = self.arrivals.wake(queue);
        self.notifier.tell(queue, here);
    }

    /// As [`made_available`](Self::made_available), of jobs that may be below the floor.
    pub(crate) fn again_available<'q>(&self, queues: impl IntoIterator<Item = &'q str>) {
        self.floors.clear();
        queues.into_iter().for_each(|queue| self.made_available(queue));
    }

    /// Only roughly, by our own clock: who is not told finds the job by looking.
    fn is_soon(&self, at: chrono::DateTime<chrono::Utc>) -> bool {
        let now = self.clock.as_ref().map_or_else(|| Clock::system().now(), Clock::now);
        (at - now).to_std().is_ok_and(|wait| wait > SOON).eq(&false)
    }

    /// Of `handed` queues, what is due was leased.
    pub(crate) fn inserted(&self, jobs: &[NewJob], answers: &[Inserted], handed: Option<&[Queue]>) {
        let mut last = None;
        for (job, answer) in jobs.iter().zip(answers) {
            let parts = &job.parts;
            // A job that comes first, or that was due before it came, is below the floor.
            if parts.scheduled_at.is_some() || parts.priority != Job::DEFAULT_PRIORITY {
                self.floors.clear();
            }
            let soon = parts.scheduled_at.is_none_or(|at| self.is_soon(at));
            let leased = parts.scheduled_at.is_none() && handed.is_some_and(|queues| queues.contains(&parts.queue));
            if soon && !leased && matches!(answer, Inserted::New(_)) && last != Some(&parts.queue) {
                self.made_available(parts.queue.as_str());
                last = Some(&parts.queue);
            }
        }
    }
}

/// What stands in `Parts` unless a job says otherwise.
struct Job;

impl Job {
    const DEFAULT_PRIORITY: u8 = 5;
}

impl PostgresStore {
    /// The version of the tables that this program knows: those of an earlier one are brought up to date when the store is
    /// opened, those of a later one are refused.
    pub const SCHEMA_VERSION: i64 = crate::migrate::VERSION;

    /// Connects with the default settings: `postgres://user@host:5432/database`, and the schema `work`.
    ///
    /// # Errors
    ///
    /// [`OpenError`] says what is wrong with the URL, the server, its settings or the schema.
    pub async fn connect(url: impl Into<String>) -> Result<Self, OpenError> {
        Self::builder(url).connect().await
    }

    /// Connects with settings.
    pub fn builder(url: impl Into<String>) -> PostgresStoreBuilder {
        PostgresStoreBuilder::new(url.into())
    }

    /// The schema that the tables are in.
    #[must_use]
    pub fn schema(&self) -> &str {
        self.shared.sql.schema.name()
    }

    pub(crate) async fn start(settings: PostgresStoreBuilder) -> Result<Self, OpenError> {
        let (shared, thread) = Shared::connect(settings, Tables::Ours).await?;
        let (inserter, inserts): (Inserter, Inserts) = Inserter::new();
        thread.handle().spawn(inserts.run(shared.clone()));
        thread.handle().spawn(Notifier::run(shared.clone()));
        Ok(Self { shared, inserter, _thread: Arc::new(thread) })
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// From the first time that somebody waits on: who only makes jobs needs no connection for it.
    fn listen(&self) {
        self.shared.listening.get_or_init(|| {
            self.shared.handle.spawn(Listener::run(self.shared.clone()));
            self.shared.handle.spawn(Listener::look(self.shared.clone()));
        });
    }
}

/// Whose tables are looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tables {
    /// Those of the store, which are brought up to date.
    Ours,
    /// Those of the program, which it has made.
    TheUsers,
}

impl Shared {
    /// A thread with connections, and what calls need.
    pub(crate) async fn connect(
        settings: PostgresStoreBuilder,
        tables: Tables,
    ) -> Result<(Arc<Self>, IoThread), OpenError> {
        settings.check()?;
        let schema = Schema::new(&settings.schema)?;
        let config = config_of(&settings.url.0)?;
        let connector = Connector::new(config);
        let server = connector.server();
        let other =
            |source: Box<dyn std::error::Error + Send + Sync>| OpenError::Other { server: server.clone(), source };
        let thread = IoThread::start().map_err(|error| other(error.into()))?;
        let (deadline, durability) = (settings.deadline, settings.durability);
        let opening = open(connector, server.clone(), schema.clone(), durability, tables);
        let opened = thread.handle().spawn(tokio::time::timeout(deadline, opening)).await;
        let connector = match opened.map_err(|error| other(error.into()))? {
            Ok(opened) => opened?,
            Err(_) => return Err(OpenError::NoAnswer { server, within: deadline }),
        };
        let pool = Pool::builder(connector).max_size(settings.pool_size).queue_mode(QueueMode::Lifo).build();
        let pool = pool.map_err(|error| other(error.into()))?;
        let shared = Self {
            handle: thread.handle().clone(),
            pool,
            server,
            sql: Sql::new(schema),
            deadline,
            max_args: settings.max_args,
            arrivals: Arrivals::default(),
            notifier: Notifier::default(),
            offers: Offers::default(),
            listener: Listener::default(),
            floors: Floors::default(),
            limited: Limited::default(),
            prepares: AtomicBool::new(true),
            instance: JobId::new().to_string(),
            clock: settings.clock,
            listening: OnceLock::new(),
            swept: AtomicI64::new(i64::MIN),
        };
        Ok((Arc::new(shared), thread))
    }
}

async fn open(
    connector: Connector,
    server: String,
    schema: Schema,
    durability: crate::Durability,
    tables: Tables,
) -> Result<Connector, OpenError> {
    if connector.config.get_ssl_mode() == SslMode::Require {
        return Err(OpenError::NeedsTls { server });
    }
    let mut connected = deadpool::managed::Manager::create(&connector).await.map_err(|error| {
        let text = in_full(&error);
        // How a server says it that lets in nobody without.
        if text.contains("no encryption") {
            return OpenError::NeedsTls { server: server.clone() };
        }
        OpenError::NoConnection { server: server.clone(), source: text.into() }
    })?;
    let target = Target { server: &server, schema: &schema, durability };
    match tables {
        Tables::Ours => target.open(&mut connected.client).await?,
        Tables::TheUsers => target.check_server(&connected.client).await?,
    }
    Ok(connector)
}

impl Store for PostgresStore {
    fn insert(&self, jobs: Vec<NewJob>) -> BoxFuture<'_, Result<Vec<Inserted>, StoreError>> {
        if let Err(error) = jobs.iter().try_for_each(|job| insert::check(job, self.shared.max_args)) {
            return Box::pin(std::future::ready(Err(error)));
        }
        if jobs.is_empty() {
            return Box::pin(std::future::ready(Ok(Vec::new())));
        }
        Box::pin(self.inserter.insert(jobs))
    }

    fn lease(&self, want: Want) -> BoxFuture<'_, Result<Leased, StoreError>> {
        self.shared.call("lease", want, lease::lease)
    }

    fn extend(&self, leases: Vec<LeaseKey>, lease_for: Duration) -> BoxFuture<'_, Result<Vec<LeaseKey>, StoreError>> {
        if leases.is_empty() {
            return Box::pin(std::future::ready(Ok(Vec::new())));
        }
        self.shared.call("extend", (leases, lease_for), change::extend)
    }

    fn settle(&self, done: Vec<Settle>) -> BoxFuture<'_, Result<Vec<Settled>, StoreError>> {
        if done.is_empty() {
            return Box::pin(std::future::ready(Ok(Vec::new())));
        }
        Box::pin(async move {
            let again = done.iter().any(|done| self.is_soon_again(done));
            let queues: Vec<Queue> =
                done.iter().flat_map(|done| &done.then).map(|job| job.parts.queue.clone()).collect();
            let answers = self.shared.call("settle", done, settle::settle).await?;
            if again || !queues.is_empty() {
                self.shared.floors.clear();
            }
            if again {
                // Of which queues is not known here; whoever waits elsewhere looks once a second anyway.
                self.shared.arrivals.wake_all();
            }
            queues.iter().for_each(|queue| self.shared.made_available(queue.as_str()));
            // Whoever waits for room may have some now.
            self.shared.limited.all().iter().for_each(|queue| self.shared.made_available(queue.as_str()));
            Ok(answers)
        })
    }

    fn completed(&self, leases: Vec<LeaseKey>) -> BoxFuture<'_, Result<Vec<LeaseKey>, StoreError>> {
        self.shared.call("completed", leases, settle::completed)
    }

    fn rescue(&self, limit: usize, max_crashes: u32) -> BoxFuture<'_, Result<Rescued, StoreError>> {
        Box::pin(async move {
            let (rescued, queues) = self.shared.call("rescue", (limit, max_crashes), change::rescue).await?;
            if !queues.is_empty() {
                self.shared.again_available(queues.iter().map(String::as_str));
            }
            Ok(rescued)
        })
    }

    fn take_back(&self, worker: String, held: Vec<LeaseKey>) -> BoxFuture<'_, Result<u64, StoreError>> {
        Box::pin(async move {
            let queues = self.shared.call("take_back", (worker, held), change::take_back).await?;
            self.shared.again_available(queues.iter().map(String::as_str).collect::<BTreeSet<_>>());
            Ok(queues.len() as u64)
        })
    }

    fn cancel(&self, ids: Vec<JobId>) -> BoxFuture<'_, Result<Vec<CancelOutcome>, StoreError>> {
        if ids.is_empty() {
            return Box::pin(std::future::ready(Ok(Vec::new())));
        }
        self.shared.call("cancel", ids, change::cancel)
    }

    fn stop_requests(&self) -> BoxFuture<'_, Result<Vec<LeaseKey>, StoreError>> {
        self.shared.call("stop_requests", (), workers::stop_requests)
    }

    fn set_progress(&self, of: Vec<(LeaseKey, f32)>) -> BoxFuture<'_, Result<(), StoreError>> {
        if of.is_empty() {
            return Box::pin(std::future::ready(Ok(())));
        }
        self.shared.call("set_progress", of, workers::set_progress)
    }

    fn beat(&self, worker: WorkerInfo) -> BoxFuture<'_, Result<(), StoreError>> {
        self.shared.call("beat", worker, workers::beat)
    }

    fn leave(&self, worker: String) -> BoxFuture<'_, Result<(), StoreError>> {
        self.shared.call("leave", worker, workers::leave)
    }

    fn prune(&self, retention: Retention, limit: usize) -> BoxFuture<'_, Result<u64, StoreError>> {
        Box::pin(async move {
            let mut left = if retention.is_forever() { 0 } else { limit };
            let all = left;
            while left > 0 {
                let after = self.shared.swept.load(Ordering::Relaxed);
                let sweep = Sweep { retention, after, limit: left.min(AT_ONCE) };
                let (forgotten, next) = self.shared.call("prune", sweep, prune::prune).await?;
                left = left.saturating_sub(usize::try_from(forgotten).unwrap_or(usize::MAX));
                self.shared.swept.store(next.unwrap_or(i64::MIN), Ordering::Relaxed);
                if next.is_none() {
                    break;
                }
            }
            Ok((all - left) as u64)
        })
    }

    fn declare_limit(&self, queue: Queue, at_most: u32) -> BoxFuture<'_, Result<u32, StoreError>> {
        match check_limit(&queue, Some(at_most)) {
            Ok(()) => self.shared.call("declare_limit", (queue, at_most), queues::declare),
            Err(error) => Box::pin(std::future::ready(Err(error))),
        }
    }

    fn declare_rate(&self, queue: Queue, rate: Rate) -> BoxFuture<'_, Result<Rate, StoreError>> {
        match check_rate(&queue, Some(&rate)) {
            Ok(()) => self.shared.call("declare_rate", (queue, rate), rates::declare),
            Err(error) => Box::pin(std::future::ready(Err(error))),
        }
    }

    fn put_schedule(&self, schedule: StoredSchedule) -> BoxFuture<'_, Result<(), StoreError>> {
        match insert::check(&schedule.job, self.shared.max_args) {
            Ok(()) => self.shared.call("put_schedule", schedule, schedules::put),
            Err(error) => Box::pin(std::future::ready(Err(error))),
        }
    }

    fn schedules(&self) -> BoxFuture<'_, Result<Vec<StoredSchedule>, StoreError>> {
        self.shared.call("schedules", (), schedules::schedules)
    }

    fn fire(&self, due: Vec<Firing>) -> BoxFuture<'_, Result<Vec<Fired>, StoreError>> {
        if due.is_empty() {
            return Box::pin(std::future::ready(Ok(Vec::new())));
        }
        let jobs = due.iter().flat_map(|due| &due.jobs);
        if let Err(error) = jobs.clone().try_for_each(|job| insert::check(job, self.shared.max_args)) {
            return Box::pin(std::future::ready(Err(error)));
        }
        let mut queues: Vec<Queue> = jobs.map(|job| job.parts.queue.clone()).collect();
        queues.sort_unstable();
        queues.dedup();
        Box::pin(async move {
            let fired = self.shared.call("fire", due, schedules::fire).await?;
            if fired.iter().any(|fired| matches!(fired, Fired::Done(jobs) if !jobs.is_empty())) {
                self.shared.again_available(queues.iter().map(Queue::as_str));
            }
            Ok(fired)
        })
    }

    fn ready<'a>(&'a self, queues: &'a [Queue]) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            self.listen();
            self.shared.arrivals.wait(queues).await;
        })
    }

    fn hand_over<'a>(&'a self, want: Want, told: Told<'a>) -> BoxFuture<'a, Option<HandedOver>> {
        Box::pin(hand_over::wait(&self.shared, want, told))
    }
}

impl PostgresStore {
    fn is_soon_again(&self, done: &Settle) -> bool {
        match &done.settlement {
            Settlement::Retry { at } | Settlement::Snooze { at } => self.shared.is_soon(*at),
            _ => false,
        }
    }
}

impl fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (server, schema) = (&self.shared.server, self.schema());
        f.debug_struct("PostgresStore").field("server", server).field("schema", &schema).finish_non_exhaustive()
    }
}

/// Reads a URL. What is wrong with it may be that a sign of the password is not escaped: then that is in some other part of it,
/// which no message may repeat.
fn config_of(url: &str) -> Result<Config, OpenError> {
    let wrong = |source: String| OpenError::InvalidUrl { source: source.into() };
    let scheme = url.split_once("://").map(|(scheme, _)| scheme);
    if let Some(scheme) = scheme.filter(|scheme| !matches!(*scheme, "postgres" | "postgresql"))
        && scheme.chars().all(|c| c.is_ascii_alphanumeric())
    {
        return Err(wrong(format!("it begins with {:?}", work_core::cut(scheme))));
    }
    let config: Config = url.parse().map_err(|error: tokio_postgres::Error| {
        let why = in_full(&error);
        wrong(if why.contains("unknown option") {
            "it has an option that there is not".to_owned()
        } else {
            without_given(&why)
        })
    })?;
    if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
        return Err(wrong("it names no host".to_owned()));
    }
    let has_at = |host: &Host| matches!(host, Host::Tcp(name) if name.contains('@'));
    if config.get_hosts().iter().any(has_at) {
        return Err(wrong("it has more than one `@`, and one of a user or a password is written %40".to_owned()));
    }
    Ok(config)
}

/// What is wrong with a URL, without what stands in it, which may be a password. The name of an option stays.
fn without_given(text: &str) -> String {
    let (Some(start), Some(end)) = (text.find('`'), text.rfind('`')) else { return text.to_owned() };
    let name = text.get(start + 1..end).unwrap_or_default();
    let plain = name.len() <= 30 && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    if plain { text.to_owned() } else { format!("{}`…`{}", &text[..start], &text[end + 1..]) }
}
