# Gives buildah a root of its own, with nothing of the machine in it but programs and what they need to
# find the network. What a mistake of buildah's, or of the runtime's, lets a step name is then not the
# machine's. Expects to be the first process of new mount and process namespaces.
#
#   NEW CGROUP [HOW SOURCE PLACE]... -- PROGRAM [ARGUMENT]...
#
# NEW is an empty directory; HOW is `ro` or `rw`, or `copy` for what is not to be the same.
set -eu
new=$1 cgroup=$2
shift 2
mount -t tmpfs -o mode=755,size=256m,nosuid tmpfs "$new"
cd "$new"
mkdir -p dev/pts dev/shm etc proc root run sys/fs/cgroup tmp var/lib var/tmp
chmod 1777 dev/shm tmp var/tmp

for name in usr bin sbin lib lib32 lib64 libx32 nix; do
    if [ -L "/$name" ]; then
        ln -s "$(readlink "/$name")" "$name"
    elif [ -d "/$name" ]; then
        mkdir "$name"
        mount --bind -o ro "/$name" "$name"
    fi
done

# No keys: of what is about certificates, only those that anybody may have.
for name in ssl/certs pki/tls/certs pki/ca-trust/extracted ca-certificates/extracted alternatives; do
    if [ -d "/etc/$name" ]; then
        mkdir -p "etc/$name"
        mount --bind -o ro "/etc/$name" "etc/$name"
    fi
done
for name in resolv.conf hosts nsswitch.conf host.conf gai.conf ld.so.cache \
    ssl/openssl.cnf ssl/ca-bundle.pem ssl/cert.pem pki/tls/cert.pem; do
    if [ -f "/etc/$name" ]; then
        mkdir -p "$(dirname "etc/$name")"
        cp -L "/etc/$name" "etc/$name"
    fi
done
echo 'root:x:0:0:root:/root:/bin/sh' > etc/passwd
echo 'root:x:0:' > etc/group

mknod -m 666 dev/null c 1 3
mknod -m 666 dev/zero c 1 5
mknod -m 666 dev/full c 1 7
mknod -m 666 dev/random c 1 8
mknod -m 666 dev/urandom c 1 9
mknod -m 666 dev/tty c 5 0
ln -s /proc/self/fd dev/fd
ln -s /proc/self/fd/0 dev/stdin
ln -s /proc/self/fd/1 dev/stdout
ln -s /proc/self/fd/2 dev/stderr

# Of these processes only, and nothing in it may be set.
mount -t proc -o ro,nosuid,nodev,noexec proc proc

# Of the cgroups only those of this build, in the place of the whole.
all=/sys/fs/cgroup
if [ -f "$all/cgroup.controllers" ]; then
    for controller in $(cat "$all/cgroup.controllers"); do
        # One that cannot be had here was not there before either.
        echo "+$controller" > "$all/cgroup.subtree_control" || true
    done 2> dev/null
    mkdir -p "$all/$cgroup"
    mount --bind "$all/$cgroup" sys/fs/cgroup
else
    mount -t tmpfs -o mode=755,size=64k tmpfs sys/fs/cgroup
    for one in "$all"/*; do
        name=${one##*/}
        if [ -L "$one" ]; then
            ln -s "$(readlink "$one")" "sys/fs/cgroup/$name"
        elif mountpoint -q "$one"; then
            mkdir -p "$one/$cgroup" "sys/fs/cgroup/$name"
            if [ -f "$one/cpuset.cpus" ]; then
                # The runtime does it for groups that it makes itself; nothing runs in one without.
                cat "$one/cpuset.cpus" > "$one/$cgroup/cpuset.cpus"
                cat "$one/cpuset.mems" > "$one/$cgroup/cpuset.mems"
            fi
            mount --bind "$one/$cgroup" "sys/fs/cgroup/$name"
        fi
    done
fi

while [ "$1" != -- ]; do
    how=$1 source=$2 place=$3
    shift 3
    mkdir -p ".${place%/*}"
    if [ "$how" = copy ]; then
        cp -RL "$source" ".$place"
        continue
    elif [ -d "$source" ]; then
        mkdir -p ".$place"
    else
        : > ".$place"
    fi
    mount --bind -o "$how" "$source" ".$place"
done
shift

mkdir old
pivot_root . old
cd /
umount -l old
rmdir old
exec "$@"
