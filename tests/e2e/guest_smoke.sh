# The real binary between busybox's web server and client, in the machine that tools/test-on-debian-kernel boots: there
# is no other program there. Each case prints "ok NAME" or "not ok NAME".
failed=0
ok() { echo "ok $1"; }
bad() {
  echo "not ok $1"
  failed=1
}
# check NAME COMMAND...
check() {
  name=$1
  shift
  if "$@"; then ok "$name"; else bad "$name"; fi
}
# within SECONDS COMMAND...: tries until it succeeds.
within() {
  tries=$(($1 * 5))
  shift
  while [ "$tries" -gt 0 ]; do
    "$@" && return 0
    tries=$((tries - 1))
    sleep 0.2
  done
  return 1
}

mkdir -p /tmp/one /tmp/two
echo one >/tmp/one/name
echo two >/tmp/two/name
dd if=/dev/urandom of=/tmp/one/large bs=1M count=8 2>/dev/null
cp /tmp/one/large /tmp/two/large
httpd -f -p 127.0.0.1:8001 -h /tmp/one &
first_origin=$!
httpd -f -p 127.0.0.1:8002 -h /tmp/two &

weir --listen=http://127.0.0.1:8080 --backends=127.0.0.1:8001,127.0.0.1:8002 --admin=127.0.0.1:9901 2>/tmp/weir.log &
weir=$!

# Not wget's own -T: Debian 12's static busybox crashes with it.
get() { timeout 10 wget -q -O - "http://127.0.0.1:8080/$1"; }
raw() { printf "$1" | nc -w 10 127.0.0.1 "$2" 2>/dev/null | head -n 1; }
answers() { [ -n "$(get name 2>/dev/null)" ]; }
check "starts and answers" within 20 answers

names=$(for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do get name; done | sort | uniq | tr '\n' ' ')
check "both origins are used" [ "$names" = "one two " ]

same() { [ "$(get large | md5sum)" = "$(md5sum </tmp/one/large)" ]; }
check "a large body arrives whole" same

refused() { case "$(raw 'GET / HTTP/1.1\r\n\r\n' 8080)" in "HTTP/1.1 400"*) true ;; *) false ;; esac; }
check "a request without Host is refused" refused

admin() { case "$(raw 'GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n' 9901)" in "HTTP/1.1 "*) true ;; *) false ;; esac; }
check "the admin port answers" admin

kill "$first_origin"
survives() {
  for i in 1 2 3 4 5 6 7 8 9 10; do
    [ "$(get name)" = two ] || return 1
  done
}
check "a dead origin is not noticed by clients" survives

check "is still running" kill -0 "$weir"
gone() { ! kill -0 "$weir" 2>/dev/null; }
kill -TERM "$weir" 2>/dev/null
check "ends when told to" within 20 gone
wait "$weir"
check "ends with success" [ $? -eq 0 ]

[ "$failed" -eq 0 ] || tail -n 20 /tmp/weir.log
exit "$failed"
