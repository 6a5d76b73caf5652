"""What is done, what is off, what to try: `python -m checks`.

student_files  whatever lies in a student's folder, read with care
todos          the two TODOs of the morph, by which that script checks itself, too
sampler_todos  the three of the sampler, likewise
steer_todos    the two of Exercise 4
student_code   runs a student's code in a process of its own
judge          what runs there: is the code right?
folder         the report on one folder
class_page     a class on one page
diagnose       what is wrong with weights? `python -m checks.diagnose`
"""
