//! Describes the schema of an SQLite database.

use diesel::RunQueryDsl;
use diesel::sqlite::SqliteConnection;

use crate::database::DatabaseError;

/// Describes the objects of the schema. SQLite keeps the constraints of a table only in the text that made
/// it, so they are described by that text.
const DESCRIBE_SCHEMA: &str = "
    SELECT 'table ' || name AS line, coalesce(sql, '') AS definition FROM sqlite_schema
    WHERE type = 'table' AND name NOT LIKE 'sqlite_%'
    UNION ALL
    SELECT format('column %s.%s %s%s%s', tables.name, columns.name, lower(columns.type),
                  iif(columns.\"notnull\", ' not null', ''),
                  iif(columns.dflt_value IS NOT NULL, ' default', '')), ''
    FROM sqlite_schema AS tables, pragma_table_xinfo(tables.name) AS columns
    WHERE tables.type = 'table' AND tables.name NOT LIKE 'sqlite_%'
    UNION ALL
    SELECT format('index %s on %s (%s)%s%s', indexes.name, tables.name,
                  (SELECT group_concat(name, ', ') FROM pragma_index_info(indexes.name)),
                  iif(indexes.\"unique\", ' unique', ''), iif(indexes.partial, ' partial', '')), ''
    FROM sqlite_schema AS tables, pragma_index_list(tables.name) AS indexes
    WHERE tables.type = 'table' AND tables.name NOT LIKE 'sqlite_%'
    UNION ALL
    SELECT format('foreign key on %s (%s) to %s', tables.name,
                  group_concat(keys.\"from\", ', ' ORDER BY keys.seq), keys.\"table\"), ''
    FROM sqlite_schema AS tables, pragma_foreign_key_list(tables.name) AS keys
    WHERE tables.type = 'table'
    GROUP BY tables.name, keys.id
    UNION ALL
    SELECT format('trigger %s on %s', name, tbl_name), '' FROM sqlite_schema WHERE type = 'trigger'
";

#[derive(diesel::QueryableByName)]
struct Line {
    #[diesel(sql_type = diesel::sql_types::Text)]
    line: String,
    #[diesel(sql_type = diesel::sql_types::Text)]
    definition: String,
}

/// Describes every object of the schema, a line each.
pub(super) fn describe(connection: &mut SqliteConnection) -> Result<Vec<String>, DatabaseError> {
    let lines: Vec<Line> = diesel::sql_query(DESCRIBE_SCHEMA).load(connection)?;
    Ok(lines
        .into_iter()
        .flat_map(|Line { line, definition }| {
            let table = line.strip_prefix("table ").unwrap_or_default().to_owned();
            let constraints: Vec<String> = named_constraints(&definition)
                .map(|name| format!("constraint {name} on {table}"))
                .collect();
            std::iter::once(line).chain(constraints)
        })
        .collect())
}

/// Returns the names that follow the word CONSTRAINT.
fn named_constraints(definition: &str) -> impl Iterator<Item = &str> {
    definition
        .split("CONSTRAINT ")
        .skip(1)
        .filter_map(|rest| rest.split_whitespace().next())
}
