<?php
// In flight when there is a file "in-flight", and answered once there is a file "gate".
touch(__DIR__ . '/in-flight');
while (!file_exists(__DIR__ . '/gate')) {
    usleep(2000);
    clearstatcache();
}
echo 'hello';
