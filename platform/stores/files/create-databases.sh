# Create a role and a database for each client of PostgreSQL. Patroni runs this once, when it creates the database.
# $1 is the address of the server. DATABASES are names; the variable <NAME>_PASSWORD has the password of the role.
set -eu
for name in $DATABASES; do
    variable="$(echo "$name" | tr '[:lower:]' '[:upper:]')_PASSWORD"
    eval "password=\$$variable"
    /usr/lib/postgresql/15/bin/psql --no-psqlrc --quiet --set=ON_ERROR_STOP=1 --set=name="$name" --set=word="$password" \
        "$1" <<'SQL'
create role :"name" login password :'word';
create database :"name" owner :"name";
SQL
done
