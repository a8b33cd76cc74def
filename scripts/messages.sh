#!/bin/sh
# Reads all texts for people out of the sources into the catalogue of each language, and compiles it. Needs gettext.
# Places are given as files without lines, and nothing is wrapped, so that a change of code does not change the catalogue.
set -eu
cd "$(dirname "$0")/.."
command -v msgfmt >/dev/null || { echo "make messages needs gettext (Debian: apt-get install gettext)." >&2; exit 1; }
.venv/bin/python manage.py makemessages --locale zh_Hans --no-wrap --add-location file --no-obsolete \
    --ignore '.venv' --ignore tests --ignore benchmarks --ignore 'var*' --ignore build
catalogue=locale/zh_Hans/LC_MESSAGES/django
sed -i '/^"POT-Creation-Date:/d' "$catalogue.po"  # it changes without any text having changed
msgfmt --check --statistics --output-file "$catalogue.mo" "$catalogue.po"
