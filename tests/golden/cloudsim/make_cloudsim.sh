#!/bin/sh
# Writes tests/golden/cloudsim/reference.csv: what CloudSim 3.0.3 itself makes of PlanetLab's days,
# by its own example (Reference.java). From the root of the repository:
#
#   make_cloudsim.sh CLOUDSIM DAYS
#
# CLOUDSIM: a checkout of github.com/Cloudslab/cloudsim at cloudsim-3.0.3. DAYS: a folder of matrices
# (2011MMDD.csv.gz: a header, then a row a machine, name and 288 percents, in the order that the
# figures shall have). 20110303-tenth.csv.gz is every tenth machine of that day, and the tests' own.
# Needs a JDK and commons-math3 (Debian: openjdk-17-jdk-headless, libcommons-math3-java); a day takes
# some minutes. Data: CoMon, github.com/beloglazov/planetlab-workload-traces; cite Park and Pai 2006,
# Beloglazov and Buyya 2012.
set -eu
cloudsim=$1
days=$2
here=tests/golden/cloudsim
jar=${COMMONS_MATH3:-/usr/share/java/commons-math3.jar}
classes=$(mktemp -d)
trap 'rm -rf "$classes"' EXIT
power=modules/cloudsim-examples/src/main/java/org/cloudbus/cloudsim/examples/power
find "$cloudsim/modules/cloudsim/src/main/java" "$cloudsim/$power" -name '*.java' >"$classes/sources"
javac -nowarn -encoding UTF-8 -cp "$jar" -d "$classes" "@$classes/sources" $here/Reference.java
run() {
  java -cp "$classes:$jar" org.cloudbus.cloudsim.examples.power.Reference "$@" 2>&1 >/dev/null
}
{
  echo day,machines,hosts,policy,energy_kwh,migrations,otf,pdm,unserved,shutdowns
  for hosts in 80 60; do
    run $here/20110303-tenth.csv.gz $hosts lr 1.2 thr 0.8 mad 2.5 iqr 1.5
  done
  for day in "$days"/2011????.csv.gz; do run "$day" 800 lr 1.2 thr 0.8 mad 2.5 iqr 1.5; done
} >$here/reference.csv
