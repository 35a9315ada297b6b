//! Describes the schema of a PostgreSQL database.

use diesel_async::RunQueryDsl;

use crate::database::DatabaseError;
use crate::database::postgres::Connection;

/// Describes the objects of the present schema. What the definitions say in detail is left to the names,
/// columns and kinds, because their texts differ between versions of PostgreSQL.
const DESCRIBE_SCHEMA: &str = "
    WITH tables AS (
        SELECT oid, relname FROM pg_class
        WHERE relkind = 'r' AND relnamespace = current_schema()::regnamespace
    )
    SELECT 'table ' || relname AS line FROM tables
    UNION ALL
    SELECT format('column %s.%s %s%s%s', relname, attname, format_type(atttypid, atttypmod),
                  CASE WHEN attnotnull THEN ' not null' ELSE '' END,
                  CASE WHEN atthasdef THEN ' default' ELSE '' END)
    FROM pg_attribute JOIN tables ON tables.oid = attrelid WHERE attnum > 0 AND NOT attisdropped
    UNION ALL
    SELECT format('index %s on %s (%s)%s%s', indexes.relname, tables.relname,
                  (SELECT string_agg(pg_get_indexdef(indexrelid, position, false), ', ' ORDER BY position)
                   FROM generate_series(1, indnkeyatts::int) AS position),
                  CASE WHEN indisunique THEN ' unique' ELSE '' END,
                  CASE WHEN indpred IS NOT NULL THEN ' partial' ELSE '' END)
    FROM pg_index JOIN tables ON tables.oid = indrelid JOIN pg_class indexes ON indexes.oid = indexrelid
    UNION ALL
    SELECT format('constraint %s on %s (%s) %s', conname, relname,
                  (SELECT string_agg(attname, ', ' ORDER BY attnum) FROM pg_attribute
                   WHERE attrelid = conrelid AND attnum = ANY (conkey)),
                  CASE contype WHEN 'p' THEN 'primary key' WHEN 'c' THEN 'check' WHEN 'u' THEN 'unique'
                               WHEN 'f' THEN 'foreign key to ' || confrelid::regclass END)
    FROM pg_constraint JOIN tables ON tables.oid = conrelid WHERE contype IN ('p', 'c', 'u', 'f')
    UNION ALL
    SELECT format('trigger %s on %s', tgname, relname)
    FROM pg_trigger JOIN tables ON tables.oid = tgrelid WHERE NOT tgisinternal
    UNION ALL
    SELECT format('function %s', proname) FROM pg_proc
    WHERE pronamespace = current_schema()::regnamespace AND proname NOT LIKE 'diesel_%'
    UNION ALL
    SELECT format('type %s (%s)', typname, string_agg(enumlabel, ', ' ORDER BY enumsortorder))
    FROM pg_type JOIN pg_enum ON enumtypid = pg_type.oid
    WHERE typnamespace = current_schema()::regnamespace GROUP BY typname
";

#[derive(diesel::QueryableByName)]
struct Line {
    #[diesel(sql_type = diesel::sql_types::Text)]
    line: String,
}

/// Describes every object of the schema that connections use by default, a line each.
pub(super) async fn describe(connection: &mut Connection) -> Result<Vec<String>, DatabaseError> {
    let lines: Vec<Line> = diesel::sql_query(DESCRIBE_SCHEMA).load(connection).await?;
    Ok(lines.into_iter().map(|line| line.line).collect())
}
