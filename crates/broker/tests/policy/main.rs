//! The versions of the learned policy on a real server, each role with its own key.

#![expect(clippy::unwrap_used, reason = "a failure to set up is a failure of the test")]

use jiff::Timestamp;
use tempfile::TempDir;
use trilane_broker::policy::PolicyError;
use trilane_broker::topology::Topology;
use trilane_broker::{Broker, Role};
use trilane_protocol::{Generation, LaneName, Message, Role as Speaker};
use trilane_routing::features::extract;
use trilane_routing::learn::Weights;
use trilane_routing::snapshot::{BadSnapshot, By, HAND_MADE, InForce, Manifest};
use trilane_service::config::{self, Config};
use trilane_testkit::NatsServer;
use trilane_trust::Keys;

struct Bucket {
    server: NatsServer,
    keys: Keys,
    _folder: TempDir,
}

impl Bucket {
    async fn start() -> Self {
        let folder = TempDir::new().unwrap();
        let keys = Keys::new(folder.path());
        let zones = config::load_from(None, []).unwrap().zones();
        let server = NatsServer::secured(&keys, &zones).await;
        let bucket = Self { server, keys, _folder: folder };
        let admin = bucket.connect(Role::Admin).await;
        admin.provision(&Topology::new(&bucket.config())).await.unwrap();
        bucket
    }

    fn config(&self) -> Config {
        let (url, keys) = (self.server.url(), self.keys.folder().display().to_string());
        let variables = [("TRILANE__NATS__URL", url), ("TRILANE__SECURITY__KEYS", keys)];
        config::load_from(None, variables.map(|(key, value)| (key.to_owned(), value))).unwrap()
    }

    async fn connect(&self, role: Role) -> Broker {
        Broker::connect(&self.config(), role, "test").await.unwrap()
    }

    /// Writes a key of the bucket past all checks.
    async fn overwrite(&self, key: &str, payload: &[u8]) {
        let seed = self.keys.user_seed(&Role::Admin).unwrap().unwrap();
        let options = async_nats::ConnectOptions::with_nkey(seed);
        let client = options.connect(self.server.url()).await.unwrap();
        let store = async_nats::jetstream::new(client).get_key_value("policy").await.unwrap();
        store.put(key, payload.to_vec().into()).await.unwrap();
    }
}

fn learned(quality: f64) -> Weights {
    let message = Message { role: Speaker::User, content: "translate this".into() };
    let features = extract(&[message], &Generation::default());
    let mut weights = Weights::default();
    for lane in ["local-fast", "local-deep", "cloud"] {
        weights.learn(&features, &lane.parse().unwrap(), quality, 1.0).unwrap();
    }
    weights
}

fn manifest(version: u64, weights: &Weights) -> Manifest {
    Manifest::of(version, Timestamp::UNIX_EPOCH, 3, version - 1, weights)
}

fn in_force(version: u64) -> InForce {
    let (since, reason) = (Timestamp::UNIX_EPOCH, "better".to_owned());
    InForce { version, since, by: By::Learner, reason, previous: version.checked_sub(1) }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_is_stored_put_in_force_and_read_by_whoever_follows_it() {
    let bucket = Bucket::start().await;
    let learner = bucket.connect(Role::Learner).await;
    assert_eq!(learner.policy_in_force().await.unwrap(), (InForce::hand_made(), 0));
    assert_eq!(learner.policy_weights(HAND_MADE).await.unwrap(), Weights::default());
    assert_eq!(learner.next_policy_version().await.unwrap(), 1);
    let weights = learned(1.0);
    let stored = Manifest { evaluation: serde_json::json!({"value": 0.8}), ..manifest(1, &weights) };
    learner.store_policy(&stored, &weights).await.unwrap();
    learner.put_in_force(&in_force(1), 0).await.unwrap();
    for role in [Role::Classifier, Role::Observer, Role::Learner] {
        let name = role.name();
        let broker = bucket.connect(role).await;
        let (found, revision) = broker.policy_in_force().await.unwrap();
        assert_eq!((found, revision > 0), (in_force(1), true), "{name}");
        assert_eq!(broker.policy_manifest(1).await.unwrap(), stored, "{name}");
        assert_eq!(broker.policy_weights(1).await.unwrap(), weights, "{name}");
    }
    let observer = bucket.connect(Role::Observer).await;
    assert_eq!(observer.policy_versions().await.unwrap(), [1]);
    let refused = observer.put_in_force(&in_force(1), 0).await.unwrap_err();
    assert!(matches!(refused, PolicyError::Publish(_)), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_who_put_a_version_in_force_the_second_is_told() {
    let bucket = Bucket::start().await;
    let learner = bucket.connect(Role::Learner).await;
    for version in [1, 2] {
        let weights = learned(f64::from(u8::try_from(version).unwrap()) - 1.0);
        learner.store_policy(&manifest(version, &weights), &weights).await.unwrap();
    }
    let (_, revision) = learner.policy_in_force().await.unwrap();
    learner.put_in_force(&in_force(1), revision).await.unwrap();
    // The same again is what a lost acknowledgement looks like.
    learner.put_in_force(&in_force(1), revision).await.unwrap();
    let late = learner.put_in_force(&in_force(2), revision).await.unwrap_err();
    assert!(matches!(late, PolicyError::Overtaken), "{late}");
    assert_eq!(learner.policy_in_force().await.unwrap().0.version, 1);
    let unknown = learner.put_in_force(&in_force(7), revision).await.unwrap_err();
    assert!(matches!(unknown, PolicyError::NoSuchVersion { version: 7 }), "{unknown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_is_written_once_and_its_number_never_used_again() {
    let bucket = Bucket::start().await;
    let learner = bucket.connect(Role::Learner).await;
    let weights = learned(1.0);
    for version in [1, 2] {
        learner.store_policy(&manifest(version, &weights), &weights).await.unwrap();
    }
    let other = learned(0.0);
    let twice = learner.store_policy(&manifest(2, &other), &other).await.unwrap_err();
    assert!(matches!(twice, PolicyError::AlreadyThere { version: 2 }), "{twice}");
    assert_eq!(learner.policy_weights(2).await.unwrap(), weights, "nothing was overwritten");
    let wrong = learner.store_policy(&manifest(3, &weights), &other).await.unwrap_err();
    assert!(matches!(wrong, PolicyError::Bad(_)), "{wrong}");
    learner.put_in_force(&in_force(1), 0).await.unwrap();
    let kept = learner.forget_policy(1).await.unwrap_err();
    assert!(matches!(kept, PolicyError::InForce { version: 1 }), "{kept}");
    learner.forget_policy(2).await.unwrap();
    assert_eq!(learner.policy_versions().await.unwrap(), [1]);
    let gone = learner.policy_weights(2).await.unwrap_err();
    assert!(matches!(gone, PolicyError::NoSuchVersion { version: 2 }), "{gone}");
    assert_eq!(learner.next_policy_version().await.unwrap(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_changed_in_the_bucket_is_refused_by_name() {
    let bucket = Bucket::start().await;
    let learner = bucket.connect(Role::Learner).await;
    let weights = learned(1.0);
    learner.store_policy(&manifest(1, &weights), &weights).await.unwrap();
    let lane: LaneName = "cloud".parse().unwrap();
    let mut head = weights.head_to_bytes(&lane).unwrap();
    head[40] ^= 1;
    bucket.overwrite("v1.cloud", &head).await;
    let changed = learner.policy_weights(1).await.unwrap_err();
    assert!(matches!(changed, PolicyError::Bad(BadSnapshot::Changed { version: 1, .. })), "{changed}");
    let refused = learner.put_in_force(&in_force(1), 0).await.unwrap_err();
    assert!(matches!(refused, PolicyError::Bad(_)), "what does not read is not put in force: {refused}");
    bucket.overwrite("v1", b"{\"version\":1").await;
    let cut = learner.policy_manifest(1).await.unwrap_err();
    assert!(cut.to_string().contains("`v1`") && !cut.is_retryable(), "{cut}");
    bucket.overwrite("current", b"nonsense").await;
    let nonsense = learner.policy_in_force().await.unwrap_err();
    assert!(nonsense.to_string().contains("`current`"), "{nonsense}");
}
