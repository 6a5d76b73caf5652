"""What is done, what is off, what to try: `python -m checks`.

student_files    whatever lies in a student's folder, read with care
todos            the two TODOs of the morph, by which that script checks itself, too
sampler_todos    the three of the sampler, likewise
steer_todos      the two of Exercise 4
student_process  what runs in a process of a student's own: their code, that reading
student_code     such processes: limited, shut in, asked for numbers, ended
judge            is a student's code right?
folder           the report on one folder
marks            points by the rubric; a report as autograders take it
notebook         what the cell calls that nbgrader runs
class_page       a class on one page
made_up_class    a class to try it on: `python -m checks.made_up_class`
diagnose         what is wrong with weights? `python -m checks.diagnose`
"""

import ddpm  # noqa: F401  (from here on, Ctrl-C ends the imports with a sentence)
