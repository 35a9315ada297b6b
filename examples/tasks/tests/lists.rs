//! Lists: their order, their pages, and how the database reads them.

use diesel::sql_types::Text;
use diesel::{Connection, QueryableByName, RunQueryDsl, SqliteConnection};
use tonic::Code;

use crate::support::{Backend, Behaviour, Test, behaviours};
use crate::world::{Place, World, sent_statements};

pub fn tests() -> Vec<Behaviour> {
    behaviours![
        tsk_05_tasks_are_listed_newest_first,
        tsk_05_pages_are_stable_while_tasks_come_and_go,
        tsk_05_a_list_is_read_through_the_composite_index,
        a_page_is_at_most_a_hundred_tasks_and_fifty_unless_asked,
        page_tokens_of_other_lists_are_refused,
    ]
}

async fn tsk_05_tasks_are_listed_newest_first(t: Test) {
    for place in Place::BOTH {
        let world = World::start(&t, place).await;
        let ada = world.person(&format!("ada-{place:?}@example.com")).await;
        for number in 1..=5 {
            ada.create(&format!("{number}")).await.unwrap();
        }
        // A change does not move a task.
        let (tasks, _) = ada.list(0, "").await.unwrap();
        ada.update(tasks[3].clone(), Some(&["title"])).await.unwrap();

        assert_eq!(ada.titles().await, ["5", "4", "3", "2", "1"]);
        // Those of one moment come in the order of their ids.
        world
            .database
            .sql("UPDATE tasks SET created_at = (SELECT min(created_at) FROM tasks)")
            .await
            .unwrap();
        let mut seen = Vec::new();
        let mut token = String::new();
        loop {
            let (page, next) = ada.list(2, &token).await.unwrap();
            seen.extend(page.into_iter().map(|task| task.id));
            if next.is_empty() {
                break;
            }
            token = next;
        }
        let mut by_id = seen.clone();
        by_id.sort_by(|one, other| other.cmp(one));
        assert_eq!((seen.len(), seen), (5, by_id));
    }
}

async fn tsk_05_pages_are_stable_while_tasks_come_and_go(t: Test) {
    let world = World::start(&t, Place::Shared).await;
    let ada = world.person("ada@example.com").await;
    for number in 0..10 {
        ada.create(&number.to_string()).await.unwrap();
    }

    let (first, token) = ada.list(4, "").await.unwrap();
    ada.create("new").await.unwrap();
    ada.delete(&first[0].id).await.unwrap();
    // The one that the next page begins after.
    ada.delete(&first[3].id).await.unwrap();
    let (second, token) = ada.list(4, &token).await.unwrap();
    let (third, end) = ada.list(4, &token).await.unwrap();

    let titles: Vec<String> = [first, second, third]
        .concat()
        .into_iter()
        .map(|task| task.title)
        .collect();
    assert_eq!(titles, ["9", "8", "7", "6", "5", "4", "3", "2", "1", "0"]);
    assert_eq!(end, "");
}

#[derive(QueryableByName)]
struct Step {
    #[diesel(sql_type = Text)]
    detail: String,
}

/// Returns how the database carries out a statement with these values of its parameters, as SQL.
async fn plan_of(database: &Test, statement: &str, arguments: &str) -> String {
    match database.backend {
        Backend::Postgres => {
            let query = format!("PREPARE list AS {statement}; EXPLAIN EXECUTE list({arguments})");
            let lines = database.sql_values(&query).await;
            lines.into_iter().flatten().collect::<Vec<_>>().join("\n")
        }
        Backend::Sqlite => {
            let url = database.database_url();
            let path = url.strip_prefix("sqlite://").unwrap();
            let mut connection = SqliteConnection::establish(path).unwrap();
            let query = diesel::sql_query(format!("EXPLAIN QUERY PLAN {statement}"));
            let steps: Vec<Step> = query.load(&mut connection).unwrap();
            steps
                .into_iter()
                .map(|step| step.detail)
                .collect::<Vec<_>>()
                .join("\n")
        }
    }
}

async fn tsk_05_a_list_is_read_through_the_composite_index(t: Test) {
    let world = World::start(&t, Place::Shared).await;
    let ada = world.person("ada@example.com").await;
    for _ in 0..3 {
        ada.create("the same").await.unwrap();
    }
    // Enough for the databases to prefer an index: 2,000 tasks of each of 20 users, and of nobody.
    let many = match t.backend {
        Backend::Postgres => {
            "INSERT INTO users (id, email, email_normalized)
             SELECT gen_random_uuid(), format('u%s@example.com', n), format('u%s@example.com', n)
             FROM generate_series(1, 20) AS n;
             INSERT INTO tasks (title, user_id, created_at)
             SELECT 'filler', users.id, now() - make_interval(secs => n)
             FROM (SELECT id FROM users UNION ALL SELECT NULL) AS users, generate_series(1, 2000) AS n;
             ANALYZE tasks"
        }
        Backend::Sqlite => {
            "WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 20)
             INSERT INTO users (id, email, email_normalized)
             SELECT randomblob(16), format('u%d@example.com', n), format('u%d@example.com', n) FROM numbers;
             WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 2000)
             INSERT INTO tasks (title, user_id, created_at)
             SELECT 'filler', users.id, (unixepoch() - n) * 1000000
             FROM (SELECT id FROM users UNION ALL SELECT NULL) AS users, numbers;
             ANALYZE"
        }
    };
    t.sql(many).await.unwrap();
    let (_, token) = ada.list(2, "").await.unwrap();
    let (tasks, _) = ada.list(2, &token).await.unwrap();
    ada.list_unowned(2, "").await.unwrap();

    let quote = match t.backend {
        Backend::Postgres => '"',
        Backend::Sqlite => '`',
    };
    let from_tasks = format!("FROM {quote}tasks{quote}");
    let statements: Vec<String> = sent_statements(&from_tasks)
        .into_keys()
        .filter(|statement| statement.contains("ORDER BY") && statement.contains("LIMIT"))
        .collect();
    let is_later_page = |statement: &&String| statement.contains("<=");
    let of_nobody = |statement: &&String| statement.contains("IS NULL");
    let first_page = |statement: &&String| !is_later_page(statement) && !of_nobody(statement);

    let (user, now) = (format!("'{}'", ada.id), "now()");
    let later = statements
        .iter()
        .find(|one| is_later_page(one) && !of_nobody(one))
        .expect("a later page");
    let first = statements.iter().find(first_page).expect("a first page");
    let unowned = statements.iter().find(of_nobody).expect("a page of nobody");
    let composite = ["tasks_user_id_created_at_idx"].as_slice();
    // SQLite takes the one or the other, PostgreSQL the one that is made for it.
    let of_nobody_alone = match t.backend {
        Backend::Postgres => ["tasks_unowned_created_at_idx"].as_slice(),
        Backend::Sqlite => ["tasks_unowned_created_at_idx", "tasks_user_id_created_at_idx"].as_slice(),
    };
    let later_values = format!("{user}, {now}, {now}, '{}', 51", tasks[0].id);
    for (statement, arguments, indexes) in [
        (first, format!("{user}, 51"), composite),
        (later, later_values, composite),
        (unowned, "51".to_owned(), of_nobody_alone),
    ] {
        let plan = plan_of(&t, statement, &arguments).await;
        let is_through_index = indexes.iter().any(|index| plan.contains(index));
        assert!(is_through_index, "{statement}\n{plan}");
        // Only tasks of the very same moment may have to be sorted, never the list.
        match t.backend {
            Backend::Postgres => {
                assert!(plan.contains("Presorted Key: created_at"), "{plan}");
                assert!(!plan.contains("Bitmap") && !plan.contains("Seq Scan"), "{plan}");
            }
            Backend::Sqlite => {
                assert!(plan.lines().all(|line| line != "SCAN tasks"), "{plan}");
                let sorts = plan.lines().filter(|line| line.contains("TEMP B-TREE"));
                for sort in sorts {
                    assert!(sort.contains("LAST TERM"), "{plan}");
                }
            }
        }
    }
}

async fn a_page_is_at_most_a_hundred_tasks_and_fifty_unless_asked(t: Test) {
    let titles: Vec<String> = (0..101).map(|number| number.to_string()).collect();
    let titles: Vec<&str> = titles.iter().map(String::as_str).collect();
    let world = World::start_with_legacy(&t, Place::Shared, &titles).await;
    let ada = world.person("ada@example.com").await;

    for (asked, expected) in [(0, 50), (1, 1), (100, 100), (101, 100), (i32::MAX, 100)] {
        let (page, token) = ada.list_unowned(asked, "").await.unwrap();
        assert_eq!((page.len(), token.is_empty()), (expected, false), "{asked}");
    }
    let failure = ada.list_unowned(-1, "").await.unwrap_err();
    assert_eq!(
        (failure.code, failure.fields),
        (
            Code::InvalidArgument,
            vec![("page_size".to_owned(), "VALUE_OUT_OF_RANGE".to_owned())]
        )
    );
}

async fn page_tokens_of_other_lists_are_refused(t: Test) {
    let world = World::start_with_legacy(&t, Place::Shared, &["one", "two"]).await;
    let ada = world.person("ada@example.com").await;
    for title in ["mine", "mine, too"] {
        ada.create(title).await.unwrap();
    }
    let (_, own) = ada.list(1, "").await.unwrap();
    let (_, unowned) = ada.list_unowned(1, "").await.unwrap();
    // The right length and mark, and a time that no database can store.
    let far_away = "AX__________AAAAAAAAAAAAAAAAAAAAAA";

    let mut failures = vec![
        ada.list(1, &unowned).await.unwrap_err(),
        ada.list_unowned(1, &own).await.unwrap_err(),
    ];
    for token in [
        "nonsense",
        "AAAA",
        far_away,
        &own[1..],
        &format!("{own}AAAA"),
        "ü",
    ] {
        failures.push(ada.list(1, token).await.unwrap_err());
    }
    for failure in failures {
        assert_eq!(failure.why(), (Code::InvalidArgument, "INVALID_PAGE_TOKEN"));
        assert_eq!(failure.fields[0].0, "page_token");
    }
}
