//! What is provisioned, and that doing it again changes nothing.

use trilane_broker::topology::Topology;
use trilane_testkit::FleetBuilder;

#[tokio::test(flavor = "multi_thread")]
async fn provisioning_twice_changes_nothing() {
    let fleet = FleetBuilder::new().start().await;
    let config = &fleet.config;
    let topology = Topology::new(config);
    let stream = fleet.nats.get_stream("LANE_LOCAL").await.unwrap();
    let before = stream.get_info().await.unwrap();
    fleet.broker.provision(&topology).await.unwrap();
    let after = stream.get_info().await.unwrap();
    assert_eq!(before.config, after.config);
    assert_eq!(before.created, after.created);
    assert_eq!(after.state.consumer_count, 8, "two local lanes with three priorities and shadows each");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_lane_waits_and_a_resumed_one_goes_on() {
    let fleet = FleetBuilder::new().start().await;
    let lane = "local-fast".parse().unwrap();
    let zone = trilane_protocol::Zone::Local;
    fleet.broker.pause(&lane, zone, std::time::Duration::from_secs(3600)).await.unwrap();
    assert!(fleet.broker.depth(&lane, zone).await.unwrap().is_paused);
    let id = fleet.submit("sample", serde_json::json!({"prompt": "x", "complexity": 0.1})).await;
    trilane_testkit::eventually("it waits on the lane", || async {
        (fleet.broker.depth(&lane, zone).await.unwrap().waiting == 1).then_some(())
    })
    .await;
    fleet.broker.resume(&lane, zone).await.unwrap();
    fleet.result("sample", &id).await;
}
