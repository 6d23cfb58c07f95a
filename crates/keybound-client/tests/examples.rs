//! The examples, run.

#[path = "../examples/kms.rs"]
#[expect(dead_code, reason = "as an example it has a `main` of its own")]
mod kms;

#[tokio::test]
async fn a_key_service_signs_proofs() {
    // R and S are shorter now and then: the conversion is put to the test.
    for _ in 0..64 {
        kms::run().await.unwrap();
    }
}
