#!/usr/bin/env bash
# Builds what a district installs: programs for linux/amd64, linux/arm64 and windows/amd64, Debian packages, a ZIP for
# Windows and SHA256SUMS. The same source and version give the same bytes, wherever it is built.
#
#   bash deploy/release.sh VERSION [DIR]      into DIR, default dist/VERSION
#
# It needs Go, zip, and nfpm 2.45 on PATH or in $NFPM:
#   go install github.com/goreleaser/nfpm/v2/cmd/nfpm@v2.45.2
set -euo pipefail

VERSION=${1:?"usage: release.sh VERSION [DIR]"}
case $VERSION in
[0-9]*.[0-9]*.[0-9]*) ;;
*) echo "release.sh: $VERSION is no version: write it as 1.2.3" >&2; exit 2 ;;
esac
out=${2:-dist/$VERSION}
mkdir -p "$out"
out=$(cd "$out" && pwd)
cd "$(dirname "$0")/.."

nfpm=${NFPM:-$(command -v nfpm || true)}
for tool in go zip "$nfpm"; do
  command -v "${tool:-nfpm}" >/dev/null || { echo "release.sh: ${tool:-nfpm} is missing; the head of this script says how to get it" >&2; exit 1; }
done

# The time of the source stands for the time of the build, in every file.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
built=$(date -u -d "@$SOURCE_DATE_EPOCH" +%Y-%m-%dT%H:%M:%SZ)
export SOURCE_DATE_EPOCH VERSION DIST=$out TZ=UTC LC_ALL=C
umask 022

for target in linux/amd64 linux/arm64 windows/amd64; do
  os=${target%/*} arch=${target#*/} dir=$out/${target/\//-}
  mkdir -p "$dir"
  for program in agent collector; do
    file=egovmon-$program
    if [ "$os" = windows ]; then
      [ $program = agent ] || continue
      file=$file.exe
    fi
    CGO_ENABLED=0 GOOS=$os GOARCH=$arch GOFLAGS=-mod=readonly go build -trimpath -buildvcs=false \
      -ldflags "-s -w -X egovmon/exporter.version=$VERSION -X egovmon/exporter.built=$built" -o "$dir/$file" "./$program"
  done
  # The agent's helper for signing, which must stand beside it.
  file=egovmon-token
  if [ "$os" = windows ]; then
    file=$file.exe
  fi
  CGO_ENABLED=0 GOOS=$os GOARCH=$arch GOFLAGS=-mod=readonly go build -trimpath -buildvcs=false -ldflags "-s -w" -o "$dir/$file" ./agent/token
done

for arch in amd64 arm64; do
  for program in agent collector; do
    ARCH=$arch "$nfpm" package --config "deploy/nfpm-$program.yaml" --packager deb \
      --target "$out/egovmon-${program}_${VERSION}_$arch.deb" >/dev/null
  done
done

zip=$out/egovmon-agent_${VERSION}_windows_amd64.zip
cp deploy/windows/install.ps1 deploy/guide.vi.md deploy/guide.en.md LICENSE "$out/windows-amd64/"
chmod 644 "$out"/windows-amd64/*
find "$out/windows-amd64" -exec touch -d "@$SOURCE_DATE_EPOCH" {} +
rm -f "$zip"
(cd "$out/windows-amd64" && zip -q -X -9 "$zip" LICENSE egovmon-agent.exe egovmon-token.exe guide.en.md guide.vi.md install.ps1)

(cd "$out" && find . -type f ! -name SHA256SUMS -printf '%P\n' | sort | xargs -d '\n' sha256sum >SHA256SUMS)
echo "$out"
