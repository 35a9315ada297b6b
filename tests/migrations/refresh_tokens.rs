//! The migration that ties refresh tokens to the users of their sessions, on a database that is in use.

use super::migrate;
use crate::session_service::calls::id_in_sql;
use crate::support::{Backend, Behaviour, Test, behaviours};

pub fn tests() -> Vec<Behaviour> {
    behaviours![m03_refresh_tokens_stay_as_they_are_and_become_those_of_the_users_of_their_sessions]
}

/// The refresh tokens, all of what they say.
async fn tokens(t: &Test) -> Vec<Option<String>> {
    let bytes = |column: &str| match t.backend {
        Backend::Sqlite => format!("hex({column})"),
        Backend::Postgres => format!("{column}::text"),
    };
    let columns = ["id", "session_id", "user_id", "token_hash"].map(bytes);
    t.sql_values(&format!(
        "SELECT {} || ' ' || generation || ' ' || expires_at || ' ' || coalesce(used_at || '', '-') || ' ' ||
                coalesce(revoked_at || '', '-') || ' ' || user_agent || ' ' || ip_address || ' ' || created_at AS value
         FROM refresh_tokens ORDER BY generation, id",
        columns.join(" || ' ' || ")
    ))
    .await
}

async fn m03_refresh_tokens_stay_as_they_are_and_become_those_of_the_users_of_their_sessions(t: Test) {
    let server = t.start().await;
    let (ada, first) = server.signed_in("ada@example.com").await;
    let (bob, of_bob) = server.signed_in("bob@example.com").await;
    let second = server.refresh(&first.refresh_token).await.unwrap();
    server.shutdown().await;
    // No two columns say the same.
    t.sql("UPDATE refresh_tokens SET user_agent = 'browser ' || generation, ip_address = '192.0.2.7'")
        .await
        .unwrap();
    t.sql("UPDATE refresh_tokens SET revoked_at = expires_at WHERE used_at IS NOT NULL")
        .await
        .unwrap();
    let before = tokens(&t).await;
    assert!(
        before.len() == 3 && before.iter().all(Option::is_some),
        "{before:?}"
    );
    let (ada, bob) = (id_in_sql(&t, &ada.id), id_in_sql(&t, &bob.id));
    let mix_up = format!("UPDATE refresh_tokens SET user_id = {bob} WHERE user_id = {ada}");
    let refusal = t.sql(&mix_up).await.unwrap_err();
    assert!(refusal.to_lowercase().contains("foreign key"), "{refusal}");

    migrate(&t, &["down"]).await;

    assert_eq!(tokens(&t).await, before);
    // The version before does not mind.
    t.sql(&mix_up).await.unwrap();
    assert_ne!(tokens(&t).await, before);

    migrate(&t, &["up"]).await;
    migrate(&t, &["verify"]).await;

    assert_eq!(tokens(&t).await, before);
    t.sql(&mix_up).await.unwrap_err();
    let again = t.start().await;
    again.refresh(&second.refresh_token).await.unwrap();
    again.refresh(&of_bob.refresh_token).await.unwrap();
}
